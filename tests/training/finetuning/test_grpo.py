"""Models that are taught by a reward of the user's own: they learn, go on exactly, and a reward that fails is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import bothways
from bothways.errors import DataError, Stopped, UsageError
from bothways.inference.likelihoods import log_likelihoods
from bothways.training import fit, loop
from bothways.training.finetuning import FinetuneConfig, finetune
from bothways.training.finetuning.answers import SampledAnswer, answer_sample, answer_values
from bothways.training.finetuning.grpo import GrpoTraining
from bothways.training.finetuning.preference_losses import advantages
from bothways.training.finetuning.run import teaching_of
from bothways.training.finetuning.setup import set_up
from bothways.training.run_folder import RunFolder
from tests.tasks.conftest import write
from tests.training.finetuning.test_preferences import NAMES, stopping_at
from tests.training.small import ALONE

LETTERS = "def reward(prompt, answer, record):\n    return answer.count(record['letter'])\n"
"""Any model can learn to write one letter more often."""


def config(folder: Path, body: Path, *, reward: str = LETTERS, **changes: Any) -> FinetuneConfig:
    folder.mkdir(parents=True, exist_ok=True)
    train = write(folder / "prompts.jsonl", *({"prompt": f"{NAMES[i % 8]} {i}", "letter": "e"} for i in range(16)))
    (folder / "rewards.py").write_text(reward, encoding="utf-8")
    values = {
        "model": str(body),
        "task": "grpo",
        "train": train,
        "dev": train,
        "out": folder / "run",
        "code": [folder / "rewards.py"],
        "precision": "fp32",
        "epochs": 2,
        "batch": 4,
        "samples": 8,
        "learning_rate": 3e-3,
        "target_length": 5,
    }
    return FinetuneConfig(**{**values, **changes})


def begun(told: FinetuneConfig) -> GrpoTraining:
    teaching = teaching_of(set_up(told, ALONE, resume=False), again=False)
    assert isinstance(teaching, GrpoTraining)
    return teaching


def test_the_reward_goes_up_beyond_its_interval(body: Path, tmp_path: Path) -> None:
    test = write(tmp_path / "test.jsonl", *({"prompt": f"the {i} fox", "letter": "e"} for i in range(60)))
    run = finetune(config(tmp_path, body, epochs=8, test=test), device="cpu")
    told, lines = RunFolder(run).manifest(), RunFolder(run).lines()
    assert told["before"]["better_by"]["reward"][0] > 0.3 and told["test"]["kl"] > 0
    trained = [line for line in lines if line["kind"] == "train"]
    first, last = (np.mean([line["reward"] for line in some]) for some in (trained[:4], trained[-4:]))
    assert last > first + 0.3
    assert trained[0]["kl"] == pytest.approx(0, abs=1e-6) and trained[-1]["kl"] > trained[0]["kl"]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "What it answers" in page and "Before, test" in page
    assert "<h3>Reward of sampled answers</h3>" in page and "<h3>KL to the model before</h3>" in page
    assert bothways.load(run, device="cpu").generate("quick 3").text.count("e") > 0


def test_a_step_reads_the_answers_that_were_sampled(body: Path, tmp_path: Path) -> None:
    """Their tokens with the likelihoods under the model as it was, the reference, and the advantage in the group."""
    teaching = begun(config(tmp_path, body))
    run, batches = teaching.run, teaching.batches(0, 0.0)
    found = run.state.notes["round"]
    prompts, answers = found["prompts"], found["answers"]
    assert prompts == np.random.default_rng([0, 0]).permutation(16)[:4].tolist()
    assert [len(some) for some in answers] == [8] * 4 and teaching.examples(0) == 32
    assert run.reference is not None
    for i, some in zip(prompts, answers, strict=True):
        samples = [answer_sample(run, run.parts[i][0].tokens, SampledAnswer("", one["tokens"])) for one in some]
        for one, again in zip(some, log_likelihoods(run.reference, samples), strict=True):
            assert one["reference"] == pytest.approx(again.tolist(), abs=1e-4)
            assert one["before"] == pytest.approx(one["reference"], abs=1e-4)
            assert one["reward"] == run.tokenizer.decode(one["tokens"]).replace("[SEP]", "").count("e")
    gained = advantages(torch.tensor([[one["reward"] for one in some] for some in answers]))
    beside = [answer_values(batch) for batch in batches]
    read = torch.cat([torch.as_tensor(one.labels)[:, 2] * torch.as_tensor(one.weight) for one in beside])
    assert float(read.sum()) == pytest.approx(float(gained.sum()), abs=1e-4)
    assert float(read.abs().sum()) == pytest.approx(float(gained.abs().sum()), rel=1e-4)
    assert sum(float(torch.as_tensor(one.weight).sum()) for one in beside) == pytest.approx(32)


def test_answers_are_a_function_of_seed_and_round(body: Path, tmp_path: Path) -> None:
    one, other = (begun(config(tmp_path / name, body)) for name in ("one", "other"))
    one.batches(1, 0.0), other.batches(0, 0.0), other.batches(1, 0.0)
    assert one.run.state.notes["round"]["answers"] == other.run.state.notes["round"]["answers"]
    third = begun(config(tmp_path / "third", body, seed=1))
    third.batches(1, 0.0)
    assert third.run.state.notes["round"]["answers"] != one.run.state.notes["round"]["answers"]


@pytest.mark.parametrize("updates", [1, 3])
def test_a_stopped_run_goes_on_exactly(
    updates: int, body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a round too, whose answers a later model would not give."""
    straight = finetune(config(tmp_path / "straight", body, updates=updates), device="cpu")
    told = config(tmp_path / "stopped", body, updates=updates)
    monkeypatch.setattr(fit, "train", stopping_at(5))
    with pytest.raises(Stopped):
        finetune(told, device="cpu")
    monkeypatch.setattr(fit, "train", loop.train)
    finetune(told, resume=True, device="cpu")
    found, expected = (load_file(run / "model" / "model.safetensors") for run in (told.out, straight))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    rewards = [[one.get("reward") for one in RunFolder(run).lines()] for run in (told.out, straight)]
    assert rewards[0] == rewards[1] and len(rewards[0]) == updates * 8 + 2


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (
            "def reward(prompt, answer, record):\n    least = 0 if '3' in prompt else 1\n    return 1 / least\n",
            r"rewards.py \(line 3\): reward failed at .*prompts.jsonl, line \d+: .*got ZeroDivisionError: .*",
        ),
        (
            "def reward(prompt, answer, record):\n    return record['missing']\n",
            r"\(line 2\): .*got KeyError: 'missing'",
        ),
        ("def reward(prompt, answer, record):\n    return None\n", r"line \d+: expected a number, got None"),
        ("def reward(prompt, answer, record):\n    return float('nan')\n", r"line \d+: expected a number, got nan"),
        ("def reward(answer):\n    return 1\n", r"expected a number, got TypeError: reward\(\) takes 1 positional"),
        ("def rewards(prompt, answer, record):\n    return 1\n", r"a function reward\(prompt, .*, got none"),
        ("def reward(prompt, answer, record)\n    return 1\n", r"rewards.py does not run: SyntaxError: .* \(line 1\)"),
    ],
)
def test_a_reward_that_fails_is_named(reward: str, message: str, body: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        finetune(config(tmp_path, body, reward=reward), device="cpu")


def test_a_reward_is_needed(body: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"grpo expects one Python file .*got none: --set code="):
        finetune(config(tmp_path, body, code=[]), device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_prompt_is_needed(body: Path, tmp_path: Path) -> None:
    told = config(tmp_path, body)
    write(tmp_path / "prompts.jsonl", {"prompt": "fox"}, {"prompt": [{"role": "assistant", "content": "fox"}]})
    with pytest.raises(DataError, match=r"line 2: field 'prompt': expected message 1 to be of user first, or system"):
        finetune(told, device="cpu")
