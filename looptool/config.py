"""One YAML file per model size, typed. An unknown key is an error that names the nearest known
one."""
from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
# told apart by their form: 1 is one sample, 1.0 all of them
Part = Count | Share | Annotated[list[Count | Share], msgspec.Meta(min_length=1)]
"""How much of a dataset: a whole number of samples, or a share of its size such as 0.25; in a list
one for D_2, one for D_3 and so on, the last one for all later rounds."""


Ablation = Literal["none", "no_high_ppl", "no_jglv", "no_edde", "high_ppl_replace",
                   "error_seed_repetition", "static"]
"""Variants of Table 4; what each does stands in dataloop/ablations/mixture.py."""


class Section(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections: keyword fields, unknown keys refused."""

    beyond_paper: ClassVar[tuple[str, ...]] = ()
    """Keys of options that are no part of the method and off by default."""

    def recorded(self) -> dict[str, Any]:
        """The section as an output records it, without options beyond the paper that are off: an
        output from before there was such an option has the same."""
        return {key: value for key, value in msgspec.to_builtins(self).items()
                if value or key not in self.beyond_paper}


class Student(Section):
    """The policy."""

    model: str
    """Folder or hub name of pi_0; a relative folder is looked for beside the config's
    repository."""
    instructions: Literal["full", "short"] = "full"
    """System text: "short" spares a tiny model on a CPU most of the prompt."""
    max_prompt_tokens: AtLeastOne = 4096
    max_response_tokens: AtLeastOne = 1024
    max_user_turns: AtLeastOne = 8
    """The context keeps at most this many user turns (section 4.1)."""


class MaxTokens(Section):
    """The most tokens of one reply, thinking included, by role; 0 leaves it to the server, whose
    context is then the end.

    High on purpose: they only stop endless replies.
    """

    planner: Count = 8192
    user: Count = 2048
    assistant: Count = 4096
    tool: Count = 4096
    designer: Count = 8192
    judge: Count = 4096
    checker: Count = 4096
    generator: Count = 8192


class Teacher(Section, kw_only=True):
    """The models behind planner, user, assistant, tool, judge and generator."""

    base_urls: list[str] = []
    """OpenAI-compatible endpoints that share the load; default $OPENAI_BASE_URL. "simulated" is the
    embedded teacher. "serve MODEL FLAGS" is a vLLM on this machine, by scripts/serve.sh, that each
    step starts when it first asks and ends with it, so that other steps have the GPUs."""
    models: list[str]
    """Drawn per call while dialogs are generated; the first one serves every other role."""
    judges: list[str] = []
    """Models that vote on labels, all with the same weight; default: the first of `models`. The
    first one checks what expansion and dialogs bring. docs/teacher.md says how to add one."""
    in_flight: AtLeastOne = 64
    """Requests to all servers together."""
    timeout_seconds: Positive = 600
    tries: AtLeastOne = 5
    """Tries for one call, the first one included, after transient errors only; one that takes all
    of timeout_seconds is tried once more."""
    max_tokens: MaxTokens = msgspec.field(default_factory=MaxTokens)
    structured: Literal["auto", "on", "off"] = "auto"
    """Ask for JSON by a schema (response_format) wherever a reply is JSON. With "auto" each server
    is tested once, and gets schemas if it complies; "on" stops with an error if it does not. The
    assistant always writes free text, as the student must."""
    dollars_per_million_prompt_tokens: Amount = 0
    dollars_per_million_completion_tokens: Amount = 0

    @property
    def is_simulated(self) -> bool:
        """Whether they are the embedded one, in this process or served over HTTP under its own
        name."""
        return any("simulated" in name for name in (*self.base_urls, *self.models))


Rule = Literal["invented_value", "one_by_one", "gives_up", "sibling_tool", "omit_optional",
               "date_format", "rounded_amount"]
"""Systematic errors of the simulated teacher; looptool/simulation/world/rules.py says what each
is."""


class Simulation(Section):
    """The embedded teacher's world; used only where a base URL is "simulated"."""

    noise: Literal["random", "systematic"] = "random"
    """How labels go wrong: "random" drawn anew for each step, at label_noise; "systematic" by rules
    that the teacher keeps to, at rule_share."""
    label_noise: Share = 0.15
    """Share of an assistant's call steps that the simulated assistant gets wrong in a consistent
    way."""
    rule_share: Share = 0.6
    """Share of the cases in a rule's reach in which the assistant keeps to it."""
    rules: list[Rule] = msgspec.field(default_factory=lambda: list(get_args(Rule)))
    """The teacher's rules; the seed draws the cases in which it keeps to them."""
    judge_shares_blind_spots: bool = False
    """Judge, checker and generator are of one kind with the assistant: what it consistently gets
    wrong they hold to be right. The paper's judge is its generator."""
    draw_noise: Share = 0.02
    """Share of draws that go wrong on their own, so that agreement between draws has something to
    do."""
    judge_error: Share = 0.1
    """Share of judgements with another verdict than the true one."""
    judge_first_bias: Share = 0.1
    """Share of judgements that prefer whatever candidate stands first."""
    generator_error: Share = 0.1
    """Share of expanded samples with a wrong label."""
    malformed: Share = 0.02
    """Share of replies that do not follow the asked format."""
    tool_error: Share = 0.05
    """Share of tool results that report an error."""
    heldout_tasks: Count = 1050
    """Size of the held-out set, which has its own catalogue, phrasings and no noise; as many of
    each of the 14 kinds of tasks."""
    heldout_tools: str = ""
    """A list by 01_synthesize_tools.sh --output, relative to the repository, of tools to hold out
    in place of that catalogue; what a run trains on should have none of them."""


class Dialogs(Section):
    """Section 3: dialogs by four agents."""

    tools: str = "catalogue"
    """Where 01_synthesize_tools.sh takes tools from: "catalogue" (the built-in one), "backends"
    (those that code runs), "none", or a file or folder of tools, relative to the repository."""
    synthesized_tools: Count = 0
    """Tools that a model writes by the dual tree, on top of them."""
    count: AtLeastOne = 1000
    tools_per_dialog: tuple[AtLeastOne, AtLeastOne] = (20, 30)
    """Drawn between these two; all tools, where there are fewer."""
    messages: tuple[AtLeastOne, AtLeastOne] = (20, 36)
    """Messages of a dialog, drawn between these two."""
    plan: bool = True
    """Let a planner outline each dialog; else its needs are improvised."""
    chat: bool = True
    """Let a dialog hold needs that no tool serves."""
    language: Literal["en", "zh"] = "en"
    clock: Literal["day", "time"] = "day"
    """Whether a dialog's date has a time of the day."""
    native_calls: bool = False
    """Ask the assistant by the API's own tools and tool_calls, not by text in its prompt."""
    max_bad_turns: AtLeastOne = 10
    """A dialog with this many unusable turns is abandoned."""
    temperature: Amount = 0.6
    verify: Literal["none", "rules", "both"] = "both"
    """Tiers of verification that a dialog must pass to become seed samples; with "none" only the
    rules on each sample hold, so that wrong labels are left for the loop to find."""
    text_share: Share = 0.15
    """At most this share of the samples has a label without a call, in words; the paper speaks of
    call steps only."""


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "released_8b": {"batch_size": 256, "mini_batch_size": 32, "epochs": 4, "save_every": 90,
                    "test_every": 90, "tensor_parallel": 8},
    "released_32b": {"batch_size": 512, "mini_batch_size": 256, "epochs": 5, "save_every": 150,
                     "test_every": 50, "tensor_parallel": 4},
}
"""What each preset sets otherwise than the defaults of Train, which are the paper's Table 6; a
config's own keys win.

In the table mini batch = batch: one update a batch, so clipping, and with it clip-higher, never
fires. The released scripts make 8 (8B) and 2 (32B) updates a batch, where it does.
"""


class ColdStart(Section):
    """Supervised steps on D_1 that make pi_0, for a student that hardly finds the call format; the
    paper has none."""

    steps: Count = 0
    """0 is no cold start: pi_0 is student.model."""
    batch_size: AtLeastOne = 32
    """Samples a step."""
    learning_rate: Positive = 1e-5


class Train(Section):
    """Section 4.1 and Table 6; `profile` says what machine verl runs on."""

    profile: Literal["cpu", "gpu"] = "gpu"
    preset: Literal["paper", "released_8b", "released_32b"] = "paper"
    """Whose settings hold where the config has none of its own: the paper's Table 6, or those of
    the released scripts."""
    batch_size: AtLeastOne = 128
    """Prompts a step."""
    mini_batch_size: AtLeastOne = 128
    """Prompts an update; equal to batch_size there is one update a step and clip-higher never
    fires."""
    rollouts: AtLeastOne = 16
    """Replies to each prompt: the size of a group."""
    learning_rate: Positive = 1e-6
    epochs: AtLeastOne = 2
    """Times that a round sees its whole dataset."""
    save_every: Count = 0
    """Steps between two checkpoints; 0 is 20 steps on GPUs, 4 on a CPU."""
    test_every: Count = 0
    """Steps between two validations, on the rows of test.parquet; 0 is an epoch on GPUs, never on
    a CPU."""
    clip_low: Share = 0.2
    clip_high: Positive = 0.28
    temperature: Amount = 1.0
    test_share: Share = 0.02
    """Share of D_j that is kept for validation."""
    reward: Literal["strict", "paper_compat"] = "strict"
    """"strict" is ToolMatch of section 4.1, "paper_compat" the comparison of the released code;
    docs/data_loop.md says what a match is in each."""
    gpus_per_node: AtLeastOne = 8
    nodes: AtLeastOne = 1
    tensor_parallel: AtLeastOne = 1
    """GPUs of one vLLM engine; there are as many engines as fit, each writing up to 256 replies at
    once."""
    gpu_memory_utilization: Share = 0.7
    """vLLM's part of each GPU's memory."""
    optimizer_offload: bool = True
    """On GPUs: keep Adam's moments in the machine's memory between updates. They are 8 bytes a
    parameter, shared by all GPUs; 8 GPUs of 80 GB have room for those of an 8B model."""
    rollout_engine: Literal["vllm", "transformers"] = "vllm"
    """On GPUs: "transformers" samples in the trainer's process, for one GPU without vLLM. A CPU
    always does so."""
    attention: Literal["auto", "flash_attention_2", "sdpa"] = "auto"
    """On GPUs: "sdpa" is PyTorch's own, which needs no flash-attn; rows are padded then. "auto" is
    flash_attention_2 where flash-attn is installed. A CPU always has sdpa."""
    trackers: list[str] = []
    """Of verl's loggers, beside console, file and tensorboard: wandb, mlflow, swanlab, ...
    A cold start has them too."""
    verl: list[str] = []
    """Overrides of verl, key=value as on its command line, after those of
    grpotool/verl_run/overrides.py; docs/training.md has some. A key that is set there already is
    refused. They are of GRPO, not of a cold start."""
    cold_start: ColdStart = msgspec.field(default_factory=ColdStart)


class Probing(Section):
    """Section 4.2, greedy capability probing."""

    beyond_paper = ("samples",)

    engine: Literal["transformers", "endpoint", "ray"] = "endpoint"
    """What decodes: this process, servers at `base_urls`, or vLLM engines in a Ray cluster;
    docs/probing.md says which when."""
    base_urls: list[str] = []
    """Servers of the policy, for engine "endpoint"."""
    samples: Count = 0
    """Replies to each sample that are drawn at train.temperature, beside the greedy one: its pass
    rate. 0 is the paper's (docs/data_loop.md, "Beyond the paper")."""
    model: str = ""
    """Its name there; default: the only model that they list."""
    in_flight: AtLeastOne = 256
    """Requests to all of them together."""
    batch_tokens: AtLeastOne = 16384
    """Padded tokens a batch, for engine "transformers"."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """For engines "transformers" and "ray"; "auto" is float32 on a CPU, and as the weights are
    stored on a GPU."""
    replicas: Count = 0
    """For engine "ray", as all below: how many engines; 0 is as many as the cluster's GPUs hold."""
    tensor_parallel: Count = 0
    """GPUs of an engine, all in one node; 0 is train.tensor_parallel."""
    gpu_memory_utilization: Share = 0.9
    """Part of each GPU's memory; nothing else runs there while probing."""


VERIFY_PRESETS: dict[str, dict[str, Any]] = {
    "both_orders": {},
    "paper": {"both_orders": False, "votes_per_order": 1, "confirming_votes": 0}}
"""What each preset sets otherwise than the defaults of Verify; a config's own keys win."""


class Verify(Section):
    """Section 4.3, judgement-guided label verification."""

    beyond_paper = ("audit_mastered", "label_refinement")

    preset: Literal["both_orders", "paper"] = "both_orders"
    """"paper" is one vote of one judge (the first), with the label shown first."""
    both_orders: bool = True
    """Judge every mismatch with the label first and with the prediction first; the paper shows one
    order."""
    votes_per_order: AtLeastOne = 1
    """Of every judge. A verdict needs more than half of all judges' votes in each order, and the
    same in both."""
    confirming_votes: Count = 2
    """Further votes of every judge in each order where the label is about to be replaced; all votes
    then count."""
    temperature: Amount = 0.6
    audit_mastered: Share = 0.0
    """Beyond the paper: this share of the mastered samples is judged too, those of high perplexity
    first (dataloop/verifying/auditing.py)."""
    label_refinement: bool = False
    """Beyond the paper: a label gives way, without a judge, to what most of probe.samples replies
    say in two rounds' probes (arXiv 2604.03993; dataloop/verifying/auditing.py)."""


class Expand(Section):
    """Section 4.4, error-driven data expansion."""

    beyond_paper = ("distractors",)

    per_seed: AtLeastOne = 4
    """k: tries for each error seed, each under another scenario."""
    near_copy: Share = 0.75
    """A new conversation whose users say so much of the same words in the same order as the seed's,
    or as a sibling's, is a copy; 1 refuses equal ones only."""
    check: bool = True
    """Second tier: a judge must accept the new sample."""
    temperature: Amount = 1.0
    top_p: Share = 0.9
    presence_penalty: float = 1.2
    distractors: Annotated[int, msgspec.Meta(ge=0, le=3)] = 0
    """Beyond the paper: so many samples, each in another of three ways, are made of each error seed
    by rules, without a teacher, their label right by construction (after COVERT, arXiv 2604.09813;
    dataloop/expanding/distractors.py)."""


class Mix(Section):
    """Equation 5: D_{j+1} = D_ES + D_EE + D_HPPL + D_Seed-new. The defaults are Table 3."""

    beyond_paper = ("medium_difficulty_share",)

    size: AtLeastOne = 18304
    """Samples of every D_j."""
    seed_new: Part = 5632
    """New seed samples in D_2; halved in every later round, if it is no list."""
    high_ppl: Part = msgspec.field(default_factory=lambda: [4187, 4036, 4996])
    """High-perplexity samples. 06_verify.sh chooses them, by this key and the next ones of that
    name, so after a change run it again, then 08."""
    error_seeds: Part = msgspec.field(default_factory=lambda: [1919, 3386, 3731])
    """Cap on error seeds when space is short; expanded samples (EE) fill the rest."""
    high_ppl_share: Share = 1.0
    """At most this share of the mastered samples counts as high-perplexity ones, "top 25%" being
    0.25."""
    high_ppl_threshold: Amount = 0.0
    """And none with a lower perplexity."""
    medium_difficulty_share: Share = 0.0
    """Beyond the paper: up to this share of the high-perplexity samples are those whose pass rate
    over probe.samples replies is nearest to one half."""
    benchmarks: list[str] = []
    """Files and folders of benchmarks, relative to the repository; what they hold already does not
    enter a D_j."""


class Config(Section, kw_only=True):
    """Everything a user edits."""

    run_dir: str
    """Where all files of a run lie; relative to the repository, so that scripts find it from any
    folder."""
    seed: int = 0
    rounds: AtLeastOne = 4
    """J of algorithm 1."""
    ablation: Ablation = "none"
    """A variant of Table 4, or training on D_1 in every round; dataloop/ablations/mixture.py says
    what each does."""
    dataset_license: str = "unknown"
    """For the card beside each D_j: an identifier of the hub, such as "apache-2.0", "cc-by-4.0" or
    "other". The terms of the teacher's models and of the tools decide what may stand here."""
    student: Student
    teacher: Teacher
    simulation: Simulation = msgspec.field(default_factory=Simulation)
    dialogs: Dialogs = msgspec.field(default_factory=Dialogs)
    train: Train = msgspec.field(default_factory=Train)
    probe: Probing = msgspec.field(default_factory=Probing)
    verify: Verify = msgspec.field(default_factory=Verify)
    expand: Expand = msgspec.field(default_factory=Expand)
    mix: Mix = msgspec.field(default_factory=Mix)
