"""Stopped twice, at the end of an epoch and inside the next, and gone on with: weights, moments, counters and lines of
metrics are those of the run that never stopped, to the bit. `proofs/resume.py` has all kinds there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bothways import machine
from bothways.errors import Stopped
from bothways.training import fit
from bothways.training.finetuning import finetune, finetune_multitask
from bothways.training.run_folder import RunFolder
from bothways.training.state import checkpoints, read_record
from tests.tasks.conftest import config, write
from tests.training.finetuning import test_grpo, test_preferences
from tests.training.finetuning.together import RECORDS, several
from tests.training.pretraining.small import TIMES, assert_same_weights, lines

Train = Callable[..., Any]
EPOCH = 3  # steps


def of_task(name: str, **changes: Any) -> Callable[[Path, Path], tuple[Any, Train]]:
    def made(folder: Path, body: Path) -> tuple[Any, Train]:
        task, records = RECORDS[name]
        folder.mkdir(exist_ok=True)
        file = write(folder / f"{name}.jsonl", *records()[:24])
        return config(folder, body, task=task, train=file, dev=file, test=file, dropout=0.1, **changes), finetune

    return made


def preferring(*records: Any, **changes: Any) -> Callable[[Path, Path], tuple[Any, Train]]:
    def made(folder: Path, body: Path) -> tuple[Any, Train]:
        told = test_preferences.config(folder, body, *(records or test_preferences.pairs(24)), epochs=2, **changes)
        return told.model_copy(update={"test": told.train}), finetune

    return made


def by_reward(folder: Path, body: Path) -> tuple[Any, Train]:
    told = test_grpo.config(folder, body, batch=6, samples=2)
    return told.model_copy(update={"test": told.train}), finetune


def of_several(folder: Path, body: Path) -> tuple[Any, Train]:
    tasks = "stars", "who", "mood", "first"
    told = several(folder, body, *tasks)
    count = sum(len(RECORDS[name][1]()) for name in tasks)
    return told.model_copy(update={"batch": -(-count // EPOCH)}), finetune_multitask


KINDS = {
    "tag by lora": of_task("names", adapter="lora(rank=2)", batch=4),
    "classify by a soft prompt": of_task("mood", adapter="soft_prompt(tokens=2)"),
    "answer": of_task("who", batch=4),
    "write": of_task("first", objective="unilm2", layer_decay=0.8),
    "write by an encoder-decoder": of_task("second", objective="seq2seq"),
    "orpo": preferring(loss="orpo"),
    "dpo by lora": preferring(adapter="lora(rank=2)"),
    "grpo": by_reward,
    "several": of_several,
}


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_twice_it_is_the_same_run(
    kind: str, body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, train = KINDS[kind](tmp_path / "whole", body)
    train(whole, device="cpu")
    parts, _ = KINDS[kind](tmp_path / "parts", body)
    real = fit.train
    for step in (EPOCH, EPOCH + 1):

        def stopping(work: Any, *, step: int = step, **given: Any) -> Any:
            return real(work, **{**given, "stop": lambda: given["state"].step >= step})

        with monkeypatch.context() as patch:
            patch.setattr(fit, "train", stopping)
            with pytest.raises(Stopped, match=f"stopped after step {step} and saved"):
                train(parts, resume=step > EPOCH, device="cpu")
    train(parts, resume=True, device="cpu")
    _assert_same(parts.out, whole.out)
    train(parts, resume=True, device="cpu")  # it is done, and stays so
    _assert_same(parts.out, whole.out)


def _assert_same(ours: Path, theirs: Path) -> None:
    assert_same_weights(ours, theirs)
    without = {*TIMES, "examples_per_second"}
    assert lines(ours, without=without) == lines(theirs, without=without)
    assert [line["kind"] for line in lines(ours)].count("test") == ("test" in RunFolder(theirs).manifest())
    found, expected = (read_record(checkpoints(run / "checkpoints")[-1]) for run in (ours, theirs))
    for record in (found, expected):
        del record["notes"]["seconds"], record["notes"]["metrics"]  # whose lines hold times
    assert found == expected
    for key in ("best", "test"):
        assert RunFolder(ours).manifest().get(key) == RunFolder(theirs).manifest().get(key)


@pytest.mark.parametrize("kind", ["one", "several"])
def test_it_goes_on_in_the_precision_that_it_began_in(
    kind: str, body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever this machine, or this version, would choose now."""
    monkeypatch.delenv(machine.BF16, raising=False)
    how: dict[str, Any] = {"precision": "auto", "epochs": 1}
    told: Any = config(tmp_path, body, **how) if kind == "one" else several(tmp_path, body, "mood", **how)
    train: Train = finetune if kind == "one" else finetune_multitask
    with monkeypatch.context() as patch:
        patch.setattr(machine, "bf16_instructions", lambda root: "amx_bf16")
        train(told, device="cpu")
    monkeypatch.setattr(machine, "bf16_instructions", lambda root: "")
    train(told, resume=True, device="cpu")
    assert RunFolder(told.out).noted("precision") == "bf16"
