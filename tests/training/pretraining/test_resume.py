"""Stopped and resumed is never stopped: every weight, optimiser tensor and line of metrics, to the bit."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from bothways import machine
from bothways.corpus import Rows, Shards
from bothways.errors import DataError, ModelError, UsageError
from bothways.training.pretraining import pretrain
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.run_folder import RunFolder
from bothways.training.state import checkpoints, read_record
from tests.training.pretraining.small import assert_same_run, configuration, lines, run_until

pytestmark = pytest.mark.usefixtures("quick")

KINDS = {
    "causal": ["objective=causal"],
    "hybrid": ["objective=hybrid"],
    "gpt-bert": ["objective=gpt-bert"],
    "adamw": ["training.optimiser.name=adamw"],
    "bert-adam": ["training.optimiser.name=bert-adam", "training.schedule.shape=linear"],
    "lamb": ["training.optimiser.name=lamb", "training.schedule.shape=cosine"],
    "a rate that falls": ["objective=mlm(rate=0.3->0.15)"],
    "bf16": ["training.precision=bf16"],
    "dropout": [
        "objective=mlm",
        "model.dropout=0.3",
        "model.shape=classic",
        "model.segments=2",
        "model.word_head=transformed",
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_at_five_random_steps(kind: str, shards: Path, tmp_path: Path) -> None:
    whole = configuration(shards, tmp_path / "whole", *KINDS[kind])
    pretrain(whole)
    for step in sorted(random.Random(kind).sample(range(1, 12), 5)):
        config = whole.model_copy(update={"out": tmp_path / f"stopped-{step}"})
        run_until(config, step)
        pretrain(config, resume=True)
        assert_same_run(config.out, whole.out)


def test_in_a_chain_of_three(shards: Path, tmp_path: Path) -> None:
    whole, parts = (configuration(shards, tmp_path / name) for name in ("whole", "parts"))
    pretrain(whole)
    run_until(parts, 3)
    run_until(parts, 6, resume=True)
    run_until(parts, 9, resume=True)
    pretrain(parts, resume=True)
    assert_same_run(parts.out, whole.out)
    pretrain(parts, resume=True)  # a run that is done stays as it is
    assert_same_run(parts.out, whole.out)


def test_in_the_precision_that_it_began_in(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine, or this version, would choose now."""
    whole, parts = (configuration(shards, tmp_path / name, "training.precision=auto") for name in ("whole", "parts"))
    with monkeypatch.context() as patch:
        patch.setattr(machine, "bf16_instructions", lambda root: "amx_bf16")
        pretrain(whole)
        run_until(parts, 4)
    monkeypatch.setattr(machine, "bf16_instructions", lambda root: "")
    pretrain(parts, resume=True, device="cpu")
    assert RunFolder(parts.out).noted("machine")["precision"] == "bf16"
    assert_same_run(parts.out, whole.out)


@pytest.mark.parametrize(("rows", "step"), [("an epoch", 1), ("an epoch", 3), ("8", 7)])
def test_over_epochs(rows: str, step: int, little: Path, tmp_path: Path) -> None:
    """Steps of a whole epoch, so that every stop stands exactly on a boundary; and one inside the second epoch."""
    opened = Shards.open(little)
    epoch = len(Rows(opened.train, opened.vocabulary, length=32, seed=0))
    assert 8 < epoch < 7 * 8
    tokens = 32 * (epoch if rows == "an epoch" else int(rows))
    sizes = [f"training.step_tokens={tokens}", f"training.micro_tokens={tokens}", "training.budget.steps=8"]
    whole, parts = (configuration(little, tmp_path / name, *sizes) for name in ("whole", "parts"))
    pretrain(whole)
    run_until(parts, step)
    pretrain(parts, resume=True)
    assert_same_run(parts.out, whole.out)


class Crash(BaseException):
    """Stands for kill -9: nothing catches it, nothing is put in order."""


def crash_at(step: int, kind: str = "train") -> Any:
    def show(line: dict[str, Any]) -> None:
        if (line["kind"], line["step"]) == (kind, step):
            raise Crash

    return show


@pytest.mark.parametrize(
    ("step", "kind"), [(0, "validation"), (1, "train"), (3, "validation"), (4, "train"), (12, "train")]
)
def test_after_a_crash(step: int, kind: str, shards: Path, tmp_path: Path) -> None:
    """Before the first checkpoint the run starts anew, later it goes on from the last."""
    whole, crashed = (configuration(shards, tmp_path / name) for name in ("whole", "crashed"))
    pretrain(whole)
    with pytest.raises(Crash):
        pretrain(crashed, show=crash_at(step, kind))
    (crashed.out / "checkpoints" / ".step-99.partial").mkdir()
    pretrain(crashed, resume=True)
    assert_same_run(crashed.out, whole.out)
    assert not list((crashed.out / "checkpoints").glob(".*"))


def test_a_run_killed_before_it_wrote_anything_down(shards: Path, tmp_path: Path) -> None:
    whole, killed = (configuration(shards, tmp_path / name) for name in ("whole", "killed"))
    pretrain(whole)
    RunFolder(killed.out).create(killed)
    pretrain(killed, resume=True)
    assert_same_run(killed.out, whole.out)


def test_from_the_checkpoint_before_a_damaged_one(shards: Path, tmp_path: Path) -> None:
    """Damage is named; once the folder is deleted, as the message says, the run comes out the same."""
    whole, damaged = (configuration(shards, tmp_path / name) for name in ("whole", "damaged"))
    pretrain(whole)
    run_until(damaged, 11)
    last = checkpoints(damaged.out / "checkpoints")[-1]
    file = last / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 16
    file.write_bytes(content)
    with pytest.raises(ModelError, match=rf"{file}.*Delete {last}"):
        pretrain(damaged, resume=True)
    shutil.rmtree(last)
    pretrain(damaged, resume=True)
    assert_same_run(damaged.out, whole.out)


def test_what_must_stay_the_same(shards: Path, little: Path, tmp_path: Path) -> None:
    config = configuration(shards, tmp_path / "run")
    with pytest.raises(ModelError, match=r"holds no run to resume.*without --resume"):
        pretrain(config, resume=True)
    run_until(config, 4)
    before = lines(config.out)
    with pytest.raises(UsageError, match="holds a run already.*--resume"):
        pretrain(config)
    for setting, message in [
        ("training.seed=1", "training.seed was 0, now 1"),
        ("objective=causal", "objective was 'hybrid', now 'causal'"),
        ("training.optimiser.name=lamb", "training.optimiser.name was 'muon', now 'lamb'"),
        ("training.step_tokens=512", "training.step_tokens was 256, now 512"),
        ("model.layers=2", "model.layers was 1, now 2"),
        ("training.precision=bf16", "training.precision was 'fp32', now 'bf16'"),
    ]:
        with pytest.raises(UsageError, match=message):
            pretrain(configuration(shards, config.out, setting), resume=True)
    with pytest.raises(DataError, match="is not what this run was trained on"):
        pretrain(configuration(little, config.out), resume=True)
    assert lines(config.out) == before


def test_what_may_change(shards: Path, tmp_path: Path) -> None:
    """How a step is dealt out, where the shards lie, how fast it learns: said anew, kept in config.yaml."""
    whole, parts = (configuration(shards, tmp_path / name) for name in ("whole", "parts"))
    pretrain(whole)
    run_until(parts, 4)
    moved = shutil.copytree(shards, tmp_path / "moved")
    pretrain(configuration(moved, parts.out, "training.micro_tokens=128"), resume=True)
    assert RunFolder(parts.out).config(PretrainConfig).shards == moved
    for ours, theirs in zip(lines(parts.out), lines(whole.out), strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-3)
    slower = configuration(
        shards,
        parts.out,
        "training.micro_tokens=128",
        "training.optimiser.learning_rate=1e-5",
        "training.budget.steps=16",
    )
    pretrain(slower, resume=True)
    assert lines(parts.out)[-2]["learning_rate"] < 1e-5


def test_checkpoints_that_are_kept(shards: Path, tmp_path: Path) -> None:
    """The last two, the best, and the last from before the learning rate falls (WSD: 70 % of the way)."""
    config = configuration(shards, tmp_path / "run", "training.save_every=1", "training.budget.steps=20")
    pretrain(config)
    kept = {int(path.name[5:]) for path in checkpoints(config.out / "checkpoints")}
    best = read_record(config.out / "checkpoints" / "step-20")["notes"]["best"]["step"]
    validations = [line for line in lines(config.out) if line["kind"] == "validation"]
    assert best == min(validations, key=lambda line: sum(line["losses"].values()))["step"]
    assert kept == {14, 19, 20, best}
