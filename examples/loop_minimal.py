"""LoopTool in one file: Algorithm 1 of arXiv 2511.09148 on a laptop CPU, to be read in one sitting.

    python examples/loop_minimal.py [--rounds 2] [--samples 96] [--steps 10] [--tasks 112]

The policy is a real network of 3.1M parameters, and GRPO really trains it. The teacher that judges
and writes is SIMULATED: it keeps to rules in a world whose truth is known, and errs at known rates.
Records, prompts, match and teacher are the project's own; scale and resume are left out.
"""
from __future__ import annotations

import argparse
import random
from typing import Any

import torch
from msgspec.structs import replace
from torch.nn.utils.rnn import pad_sequence
from tqdm import trange

from dataloop.expanding.generate import GENERATOR_PROMPT, new_sample, read_candidate
from dataloop.expanding.scenarios import SCENARIOS, draw_scenarios, read_scenarios
from dataloop.probing.job import make_probe, read_tokens
from dataloop.probing.transformers_policy import TransformersPolicy as Policy
from dataloop.verifying.judge import JUDGE_PROMPT, Judgement, shown_prediction, verdict_of
from dataloop.verifying.relabel import relabeled
from looptool.calling.json_in_text import read_object
from looptool.calling.sample_rules import sample_faults
from looptool.config import Simulation, Student
from looptool.config_file import ROOT
from looptool.ids import sample_id
from looptool.judging.checker import CHECKER_PROMPT, Accepts
from looptool.judging.question import chat_about, one_line
from looptool.models.decoding import ATTENTION, Answer, Dice, decode
from looptool.records import ErrorSeed, Message, Probe, Sample
from looptool.simulation.heldout import heldout_samples
from looptool.simulation.teacher import Teacher
from looptool.simulation.world.catalogue import catalogue
from looptool.simulation.world.noise import corrupt
from looptool.simulation.world.tasks import draw_task, draw_tools
from looptool.simulation.world.truth import truth

STUDENT = str(ROOT / "grpotool/tiny_student/checkpoint")
PROMPTS, REPLIES, LEARNING_RATE = 8, 8, 1.5e-4  # a step of GRPO: 8 replies to each of 8 prompts
CLIP, LABEL_NOISE, PER_SEED = (1 - 0.2, 1 + 0.28), 0.25, 4  # PER_SEED is the paper's k
TEACHER, IDEAS = Teacher(Simulation()), read_scenarios(SCENARIOS, PER_SEED)
ROW = "{:10}{:>12}{:>16}{:>12}{:>12}{:>12}"


def ask(chat: list[dict[str, str]]) -> str:
    """One reply of the teacher; a real model would be asked here."""
    return TEACHER.complete({"messages": chat})["choices"][0]["message"]["content"]


def draw_seed_data(count: int, rng: random.Random) -> list[Sample]:
    """Section 3, D_seed: tasks (T, c_t, a*_t) over one to three tools; some labels are wrong."""
    samples = []
    for _ in range(count):
        tools = draw_tools(rng, catalogue("train"), rng.randint(1, 3))
        task = draw_task(rng, tools, "train")
        calls = list(task.truth.calls)
        if rng.random() < LABEL_NOISE:
            calls = corrupt(rng, calls, tools)[1]
        label = Message(role="assistant", content="" if calls else "I see.", calls=calls)
        samples.append(Sample(id=sample_id(tools, "unknown", task.messages, label), tools=tools,
                              date="unknown", messages=task.messages, label=label))
    return samples


def grpo(policy: Policy, dataset: list[Sample], steps: int, rng: random.Random) -> list[float]:
    """Section 4.1: train pi_j on D_j with the binary reward; returns its mean at every step."""
    optimizer, rewards = torch.optim.AdamW(policy.model.parameters(), lr=LEARNING_RATE), []
    for _ in trange(steps, desc="GRPO", unit="step", disable=None):
        batch = [sample for sample in rng.sample(dataset, PROMPTS) for _ in range(REPLIES)]
        prompts = [policy.encode(sample) for sample in batch]
        dice = Dice([rng.getrandbits(32) for _ in batch], temperature=1.0)
        answers = [a for a, in decode(policy.model, prompts, 128, policy.ends, dice)]
        replies = [read_tokens(policy.tokenizer, a.tokens, sum(a.log_probs), a.ended, STUDENT)
                   for a in answers]
        matches = [probe.matches for probe in map(make_probe, batch, replies)]  # ToolMatch
        group = torch.tensor(matches, dtype=torch.float).view(-1, REPLIES)
        rewards.append(group.mean().item())
        advantage = (group - group.mean(1, True)) / (group.std(1, keepdim=True) + 1e-6)
        # Replies to one prompt that all earn the same have advantage 0 and teach nothing.
        kept = [row for row in zip(prompts, answers, advantage.flatten().tolist()) if row[2]]
        if kept:
            optimizer.zero_grad()
            policy_loss(policy.model, kept).backward()
            torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
            optimizer.step()
    return rewards


def policy_loss(model: Any, kept: list[tuple[list[int], Answer, float]]) -> torch.Tensor:
    """Clipped objective of (prompt, reply, advantage) rows, the mean over all their tokens."""
    rows = [torch.tensor(prompt + answer.tokens) for prompt, answer, _ in kept]
    model.set_attn_implementation("sdpa")
    # Padding stands on the right, where no token of a causal model sees it.
    logits = model(pad_sequence(rows, batch_first=True)).logits.log_softmax(-1)
    model.set_attn_implementation(ATTENTION)  # of the decoder, twice as fast as model.generate
    losses = []
    for row, logit, (prompt, _, a) in zip(rows, logits, kept):
        new = logit[len(prompt) - 1:len(row) - 1].gather(1, row[len(prompt):, None])
        # One update a batch, as in Table 6: the ratio is 1 here, so clip-higher never fires.
        ratio = (new - new.detach()).exp()
        losses.append(-torch.minimum(ratio * a, ratio.clamp(*CLIP) * a))
    return torch.cat(losses).mean()


def probe(policy: Policy, samples: list[Sample]) -> list[Probe]:
    """Section 4.2, GCP: what the policy answers by itself, greedily."""
    return list(map(make_probe, samples, policy.generate(list(map(policy.encode, samples)))))


def judge(probe: Probe) -> tuple[str, str]:
    """Section 4.3, JGLV: who is wrong, label or prediction? Returns verdict and analysis."""
    label, said = one_line(probe.sample.label), one_line(shown_prediction(probe))
    verdicts, analysis = set(), ""
    for label_first in (True, False):  # the paper shows one order only; here both must agree
        first, second = (label, said) if label_first else (said, label)
        chat = chat_about(JUDGE_PROMPT, probe.sample, candidate_1=first, candidate_2=second)
        vote = read_object(ask(chat), Judgement)
        verdicts.add(verdict_of(vote.better, label_first) if vote else "UNDECIDED")
        analysis = vote.analysis if vote else ""
    return verdicts.pop() if len(verdicts) == 1 else "UNDECIDED", analysis


def error_seed(probe: Probe, verdict: str, analysis: str, round: int) -> ErrorSeed | None:
    """Section 4.3: D_MR keeps the label; in D_LR the prediction takes its place; else None."""
    if verdict == "PRED_WRONG":
        sample, wrong, cause = probe.sample, shown_prediction(probe), "mispredicted"
    elif verdict == "LABEL_WRONG":
        sample, wrong, cause = relabeled(probe, round), probe.sample.label, "relabeled"
    else:  # of BOTH_WRONG and UNDECIDED no answer is known to be right
        return None
    return sample and ErrorSeed(sample=replace(sample, origin="error_seed"), wrong=wrong,
                                cause=cause, analysis=analysis, approach="")


def expand(seed: ErrorSeed, round: int) -> list[Sample]:
    """Section 4.4, EDDE: up to k new samples that need the skill in which the policy failed."""
    accepted = []
    for idea in draw_scenarios(IDEAS, PER_SEED, 0, seed.sample):
        written = read_candidate(ask(chat_about(
            GENERATOR_PROMPT, seed.sample, right=one_line(seed.sample.label),
            wrong=one_line(seed.wrong), analysis=seed.analysis, scenario=idea.text)))
        sample = written and new_sample(seed, written, idea, round)
        if sample is None or sample_faults(sample):  # first tier of section 3.2: rules
            continue
        check = ask(chat_about(CHECKER_PROMPT, sample, answer=one_line(sample.label)))
        if (said := read_object(check, Accepts)) and said.correct:  # second tier: a model
            accepted.append(sample)
    return accepted


def mix(errors: list[Sample], expanded: list[Sample], high_ppl: list[Sample],
        unused: list[Sample], size: int, round: int) -> list[Sample]:
    """Equation 5: D_{j+1} = D_ES + D_EE + D_HPPL + D_Seed-new; smaller where these fall short."""
    new = unused[:size // 3 >> (round - 1)]  # halves in every round (Table 3)
    high = [replace(sample, origin="high_ppl") for sample in high_ppl[:size // 4]]
    room = size - len(new) - len(high)
    kept = errors[:max(room // 3, room - len(expanded))]
    return [*kept, *expanded[:room - len(kept)], *high, *new]


def right(samples: list[Sample], answers: list[Message] | None = None) -> str:
    """How many labels, or answers, are right; only the table may ask for the simulated truth."""
    pairs = zip(samples, answers or [sample.label for sample in samples])
    return f"{sum(truth(s.tools, s.messages).accepts(a) for s, a in pairs)} of {len(samples)}"


def loop(samples: int, rounds: int, steps: int, tasks: int) -> tuple[Policy, list[list[Sample]]]:
    """Algorithm 1; prints a row for each round, and returns pi_J and D_1 ... D_{J+1}."""
    rng = random.Random(0)
    seed, held_out = draw_seed_data(2 * samples, rng), list(heldout_samples(tasks))
    policy = Policy(STUDENT, Student(model=STUDENT, instructions="short", max_response_tokens=128))
    datasets, unused = [seed[:samples]], seed[samples:]  # D_1 has seed samples only
    print(ROW.format("SIMULATED", "D_j right", "reward", "held out", "replaced", "expanded"))
    for j in range(1, rounds + 1):
        paid = grpo(policy, datasets[-1], steps, rng)
        probes = probe(policy, datasets[-1])
        judged = [(p, *judge(p)) for p in probes if not p.matches]
        seeds = [seed for entry in judged if (seed := error_seed(*entry, j))]
        expanded = [sample for seed in seeds for sample in expand(seed, j)]
        # Mastered, or right in another way: worth repeating where the policy was least sure.
        near = [p for p in probes if p.matches] + [p for p, v, _ in judged if v == "BOTH_CORRECT"]
        near = [p.sample for p in sorted(near, key=lambda p: -p.perplexity)]
        answers = [p.prediction for p in probe(policy, held_out)]
        replaced = [e.sample for e in seeds if e.cause == "relabeled"]
        print(ROW.format(f"round {j}", right(datasets[-1]), f"{paid[0]:.2f} -> {paid[-1]:.2f}",
                         right(held_out, answers), right(replaced), right(expanded)))
        datasets.append(mix([e.sample for e in seeds], expanded, near, unused, samples, j))
        unused = [sample for sample in unused if sample not in datasets[-1]]
    return policy, datasets


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("samples", 96), ("rounds", 2), ("steps", 10), ("tasks", 112)):
        parser.add_argument(f"--{name}", type=int, default=default)
    policy, datasets = loop(**vars(parser.parse_args()))
