"""verl's own parts under the settings that this project gives them: its dataset, its agent loop,
its advantages, its loss.

By verl's classes and functions in this process, without Ray; the expected figures are worked out by
hand.
"""
from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from golden_files import FOLDER
from tiny_policy import make_policy

from grpotool.dataset.utils.json2parquet import convert
from grpotool.doctor.verl_config import compose_by_verl
from grpotool.verl_run.overrides import compose
from looptool.config import Config
from looptool.config_file import ROOT, load_config
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.prompts.length import StudentFits, load_tokenizer
from looptool.prompts.render import render_sample
from looptool.records import Call, Message, Sample, Tool
from looptool.run_files import RoundFiles

pytestmark = pytest.mark.slow
HIGH, LOW = 1.28, 0.8
"""Bounds of the ratio: 1 + clip_high and 1 - clip_low of Table 6."""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Config, RoundFiles]:
    folder = tmp_path_factory.mktemp("run")
    policy = make_policy(tmp_path_factory.mktemp("policy"))
    config = load_config(ROOT / "configs" / "laptop.yaml",
                         [f"run_dir={folder}", f"student.model={policy}",
                                                             "student.max_prompt_tokens=4096"])
    return config, RoundFiles(folder, 1)


@pytest.fixture(scope="module")
def verl_config(run) -> Any:
    """verl's composed config; its platform is the CPU, as in a training."""
    os.environ["VERL_USE_EXTERNAL_MODULES"] = "grpotool.cpu.verl_platform"
    config, files = run
    return compose_by_verl(compose(config, files, config.student.model, 5, None))


def kinds_of_samples() -> list[Sample]:
    """The golden samples, and one of each kind that prompts and labels have."""
    tool = Tool(name="find", description="Ünïcode <|im_end|> 漢",
                parameters={"type": "object", "properties": {
        "city": {"type": "string"}}, "required": ["city"]})
    user, call = (Message(role="user", content="Find Köln, <think>now</think>."),
                  Call(name="find", arguments={"city": "Köln"}))
    says = Message(role="assistant", calls=[call, call])
    results = [Message(role="tool", content='{"n": 1}'),
               Message(role="tool", content="</tool_response> 漢")]
    contexts = {"call": [user], "after results": [user, says, *results],
                "later turn": [user, says, *results, Message(
        role="assistant", content="One."), user], "text": [user]}
    labels = {"call": Message(role="assistant", calls=[call]),
              "text": Message(role="assistant", content="Which Köln?")}
    samples = [Sample(id=kind, tools=[tool], date="unknown", messages=messages,
                      label=labels.get(kind, labels["call"]))
               for kind, messages in contexts.items()]
    return [*read_jsonl(FOLDER / "samples.jsonl", Sample), *samples]


def prompt_of_agent_loop(config: Any, tokenizer: Any, chat: list[dict[str, str]]) -> list[int]:
    """The prompt that verl's agent loop would send to a server."""
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap
    from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
    from verl.utils.dataset.rl_dataset import RLHFDataset
    from verl.workers.rollout.replica import TokenOutput

    class Server:
        async def generate(self, request_id, **request):
            return TokenOutput(token_ids=[10, 2], log_probs=[-1.0, -1.0])

    async def ask():
        loop = SingleTurnAgentLoop(trainer_config=DictConfigWrap(config), server_manager=Server(),
                                   tokenizer=tokenizer, processor=None, dataset_cls=RLHFDataset,
                                   data_config=DictConfigWrap(config.data))
        return await loop.run({}, raw_prompt=chat)

    return asyncio.run(ask()).prompt_ids


def test_rows_reach_the_agent_loop_as_the_renderer_shows_them(run, verl_config, monkeypatch,
                                                              tmp_path):
    """Samples -> Parquet -> verl's dataset -> verl's agent loop -> token ids -> the text of
    looptool.prompts.render."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    from verl.trainer.ppo.utils import create_rl_dataset

    config, files = run
    samples = kinds_of_samples()
    write_jsonl(files.dataset, samples)
    convert(files.dataset, files.train_parquet, files.test_parquet, config, StudentFits(config))
    tokenizer = load_tokenizer(config.student.model)
    parquet = [str(files.train_parquet), str(files.test_parquet)]
    rows = create_rl_dataset(parquet, verl_config.data, tokenizer, None)
    by_id = {row["extra_info"]["id"]: row for row in (rows[number] for number in range(len(rows)))}
    assert sorted(by_id) == sorted(sample.id for sample in samples)
    for sample in samples:
        row, chat = by_id[sample.id], render_sample(sample, config.student.instructions)
        ids = prompt_of_agent_loop(verl_config, tokenizer, list(row["raw_prompt"]))
        assert tokenizer.decode(ids, skip_special_tokens=False) == tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=False)


def test_advantages_are_relative_to_the_group(verl_config):
    """Section 4.1: (r - mean) / std; verl's is the sample's standard deviation, and a group of one
    mind learns nothing."""
    import numpy as np
    import torch
    from verl import DataProto
    from verl.trainer.ppo.ray_trainer import compute_advantage

    rewards = {"mixed": [1.0, 0.0, 0.0], "all right": [1.0, 1.0, 1.0], "all wrong": [0.0, 0.0, 0.0],
               "pair": [0.0, 1.0]}
    uids = [name for name, some in rewards.items() for _ in some]
    order = [7, 0, 3, 9, 1, 4, 10, 2, 5, 6, 8]  # groups need not stand together
    scores = torch.zeros(len(uids), 4)
    lengths = torch.tensor([1 + number % 4 for number in range(len(uids))])
    mask = (torch.arange(4) < lengths[:, None]).float()
    scores[torch.arange(len(uids)),
           lengths - 1] = torch.tensor([score for some in rewards.values() for score in some])
    data = DataProto.from_dict({"token_level_rewards": scores[order], "response_mask": mask[order]},
                               {"uid": np.array(uids, dtype=object)[order]})
    algorithm = verl_config.algorithm
    advantages = compute_advantage(data, algorithm.adv_estimator,
                                   norm_adv_by_std_in_grpo=algorithm.norm_adv_by_std_in_grpo,
                                   config=algorithm).batch["advantages"]
    # mean 1/3, deviation sqrt(1/3)
    by_hand = {"mixed": [2 / 3 ** 0.5, -1 / 3 ** 0.5, -1 / 3 ** 0.5],
               "all right": [0.0] * 3, "all wrong": [0.0] * 3, "pair": [-0.5 ** 0.5, 0.5 ** 0.5]}
    expected = torch.tensor([value for some in by_hand.values() for value in some])[:, None] * mask
    assert torch.allclose(advantages, expected[order], atol=1e-5)


LOSSES = [  # ratio of the new to the old probability, advantage, loss by hand
    # upwards 1.28 is the end, not 1.2
    (1.0, 1.0, -1.0), (1.25, 1.0, -1.25), (1.5, 1.0, -HIGH), (0.5, 1.0, -0.5),
    # verl's dual clip: 3
    (1.0, -2.0, 2.0), (0.9, -2.0, 1.8), (0.5, -2.0, 2.0 * LOW), (1.5, -2.0, 3.0), (4.0, -1.0, 3.0)]
CLIPPED = 2
"""Of these: ratio 1.5 upwards and 0.5 downwards."""


def test_clip_higher_by_hand(verl_config):
    import torch
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.utils.config import omega_conf_to_dataclass

    actor = omega_conf_to_dataclass(verl_config.actor_rollout_ref.actor)
    assert (actor.use_kl_loss, actor.entropy_coeff, actor.loss_agg_mode) == (False, 0, "token-mean")
    ratios, advantages, losses = map(torch.tensor, zip(*LOSSES, strict=True))
    # a second row that is masked
    new = torch.stack((ratios.log() - 2.0, torch.full_like(ratios, 5.0))).requires_grad_()
    old = torch.full_like(new, -2.0)
    mask = torch.stack((torch.ones_like(ratios), torch.zeros_like(ratios)))
    actor.global_batch_info.update(dp_size=1, batch_num_tokens=None, global_batch_size=None,
                                   loss_scale_factor=None)
    loss, metrics = get_policy_loss_fn(actor.policy_loss.get("loss_mode", "vanilla"))(
        old_log_prob=old, log_prob=new, advantages=torch.stack((advantages, advantages)),
        response_mask=mask, loss_agg_mode=actor.loss_agg_mode, config=actor)
    assert loss.item() == pytest.approx(losses.mean().item(), abs=1e-5)
    assert metrics["actor/pg_clipfrac"] == pytest.approx(CLIPPED / len(LOSSES), abs=1e-5)
    loss.backward()
    learns = (new.grad[0] != 0).tolist()
    assert learns == [LOSSES[row][:2] not in ((1.5, 1.0), (0.5, -2.0), (4.0, -1.0))
                      for row in range(len(LOSSES))]
    assert not new.grad[1].any()
