"""The pieces of a micro-batch of fine-tuning are the whole, and what a loss compares is in one piece."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bothways.batch import Batch
from bothways.training.finetuning.batches import batches_of
from bothways.training.finetuning.multitask import epoch_loop_of
from bothways.training.finetuning.multitask_setup import set_up_multitask
from bothways.training.finetuning.run import losses_of, teaching_of
from bothways.training.finetuning.setup import set_up
from bothways.training.splitting import in_pieces
from bothways.training.state import State
from tests.tasks.conftest import config, reviews, write
from tests.training.finetuning import test_grpo, test_preferences
from tests.training.finetuning.together import RECORDS, several
from tests.training.small import ALONE

Begun = tuple[State, list[Batch], Callable[[Batch, torch.Generator], Any]]


def of_task(name: str, body: Path, folder: Path) -> Begun:
    task, records = RECORDS[name]
    folder.mkdir(exist_ok=True)
    file = write(folder / f"{name}.jsonl", *records())
    run = set_up(config(folder, body, task=task, train=file, dev=file), ALONE, resume=False)
    run.model.eval()
    return run.state, batches_of(run)(0, 0.0), losses_of(run.model, run.state)


def taught(told: Any, *, again: bool = False) -> Begun:
    run = set_up(told, ALONE, resume=False)
    teaching = teaching_of(run, again=again)
    assert teaching is not None
    run.model.eval()
    return run.state, teaching.batches(0, 0.0), teaching.losses


def of_several(body: Path, folder: Path) -> Begun:
    run = set_up_multitask(several(folder, body, "mood", "names", "who", "first"), ALONE, resume=False)
    loop = epoch_loop_of(run)
    run.model.eval()
    return run.state, [*loop.batches(0, 0.0)], loop.losses


KINDS: dict[str, Callable[[Path, Path], Begun]] = {
    **{name: lambda body, folder, name=name: of_task(name, body, folder) for name in RECORDS},  # type: ignore[misc]
    "dpo": lambda body, folder: taught(test_preferences.config(folder, body)),
    "orpo": lambda body, folder: taught(test_preferences.config(folder, body, loss="orpo")),
    "kto": lambda body, folder: taught(
        test_preferences.config(folder, body, *test_preferences.single(), loss="kto", class_weights="balanced")
    ),
    "grpo": lambda body, folder: taught(test_grpo.config(folder, body)),
    "several": of_several,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_pieces_of_a_batch_are_the_whole(kind: str, body: Path, tmp_path: Path) -> None:
    """Sums and weights of every loss, and every gradient, whether a step is read at once or in single examples."""
    state, batches, losses = KINDS[kind](body, tmp_path)

    def summed(pieces: int) -> tuple[dict[str, list[float]], dict[str, torch.Tensor], int]:
        found: dict[str, list[float]] = {}
        made = [piece for batch in batches for piece in in_pieces(batch, pieces)]
        for one in made:
            each = losses(one, torch.Generator())
            torch.stack([loss for loss, _ in each.values()]).sum().backward()
            state.weights.accumulate()
            for name, pair in each.items():
                found[name] = [a + float(b.detach()) for a, b in zip(found.get(name, [0, 0]), pair, strict=True)]
        state.weights.reduce()
        gradients = {
            name: weight.grad.clone() for name, weight in state.weights.master.items() if weight.grad is not None
        }
        state.weights.reset_gradients()
        return found, gradients, len(made)

    (expected, whole, once), (found, gradients, often) = summed(1), summed(64)
    assert often >= once + 3
    assert found.keys() == expected.keys()
    for name, pair in expected.items():
        assert found[name] == pytest.approx(pair, rel=1e-6, abs=1e-5)  # grpo's is 0 but for rounding
    largest = max(float(one.abs().max()) for one in whole.values())
    assert largest > 0
    assert max(float((gradients[name] - one).abs().max()) for name, one in whole.items()) <= 1e-4 * largest


def test_examples_that_a_loss_compares_stay_together(body: Path, tmp_path: Path) -> None:
    """The others of its batch are what an example is told from: halves would be another loss."""
    pairs = [{"text": one["text"], "text_b": one["text"] + " too"} for one in reviews(3)]
    file = write(tmp_path / "pairs.jsonl", *pairs)
    run = set_up(config(tmp_path / "embed", body, task="embed", train=file, dev=file), ALONE, resume=False)
    (batch,) = batches_of(run)(0, 0.0)
    assert batch.splitter is None
    assert in_pieces(batch, 8) == [batch]
