"""What does not fit into memory is read in halves: the same loss and gradients, remembered, and refused where it
cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bothways.batch import Batch, BatchSplitter, Losses, Sample
from bothways.errors import MachineError
from bothways.machine import out_of_memory
from bothways.model.losses import plain_loss
from bothways.objectives import build
from bothways.training.loop import LoopInputs, Report, train
from bothways.training.splitting import in_pieces
from bothways.training.state import State, load_state, save_state
from tests.training.small import VOCABULARY, everything, settings, small_model, state_of, text_row

KINDS = {
    "python": MemoryError(),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried"),
    "gpu": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
}


def stacked(samples: Sequence[Sample]) -> Batch:
    return replace(Batch.stack(samples), splitter=BatchSplitter(samples, stacked))


def work_within(
    rows: int, *, objective: str = "causal", error: Exception = KINDS["cpu"], parted: bool = True
) -> tuple[State, LoopInputs, list[int]]:
    """Two micro-batches of four rows a step; memory runs out, half-way through backward, above so many rows. And the
    rows of every micro-batch that was tried."""
    model, built = small_model(), build(objective, VOCABULARY)
    state, tried = state_of(model, settings().optimiser), list[int]()

    def batches(step: int, progress: float) -> list[Batch]:
        samples = [
            built.sample(text_row(np.random.default_rng((step, i))), np.random.default_rng((step, i, 1)), 0.0)
            for i in range(8)
        ]
        made = [stacked(samples[i : i + 4]) for i in (0, 4)]
        return made if parted else [replace(one, splitter=None) for one in made]

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):  # type: ignore[no-untyped-def]
            raise error

    def losses(batch: Batch, generator: torch.Generator) -> Losses:
        count = (batch if batch.source is None else batch.source).tokens.shape[0]
        tried.append(count)
        found = plain_loss(model, batch)
        if count > rows and len(tried) != 1:  # the second: the first has left its gradients
            found = {name: (Broken.apply(loss), weight) for name, (loss, weight) in found.items()}
        return found

    return state, LoopInputs(losses, batches, tuple(sorted(built.shares))), tried


def steps(state: State, work: LoopInputs, total: int = 3) -> list[Report]:
    return list(train(work, state=state, config=settings(), total=total))


@pytest.mark.parametrize("kind", KINDS)
def test_micro_batches_halve_until_they_fit(kind: str) -> None:
    state, work, tried = work_within(1, error=KINDS[kind])
    found = steps(state, work)
    assert [one.pieces for one in found] == [4, 4, 4]
    # The second of four is too large, and so is the first half; then, and from then on, single rows.
    assert tried == [4, 4, 2, *[1] * 8 * 3]
    plain_state, plain, _ = work_within(9)
    expected = steps(plain_state, plain)
    assert [one.pieces for one in expected] == [1, 1, 1]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-6)
        assert ours.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-5)
        assert (ours.tokens, ours.skipped) == (theirs.tokens, 0)
    for name, weight in everything(plain_state).items():
        torch.testing.assert_close(everything(state)[name], weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("parted", "message"), [(True, "a single row of 32 tokens"), (False, "4 rows of 32 tokens")])
def test_what_cannot_be_halved_is_refused(parted: bool, message: str) -> None:
    state, work, tried = work_within(0, parted=parted)
    before = everything(state)
    with pytest.raises(MachineError, match=rf"out of memory: {message} .*lower .*\(.*DefaultCPUAllocator") as found:
        steps(state, work)
    assert found.value.exit_code == 6
    assert max(tried[3:], default=1) == 1  # it was tried with single rows
    assert not bool(state.weights.gradient.any())  # type: ignore[attr-defined]
    after = everything(state)
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())


def test_other_errors_are_no_lack_of_memory() -> None:
    state, work, _ = work_within(1, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        steps(state, work)
    assert not out_of_memory(KeyError("not enough memory")) and all(map(out_of_memory, KINDS.values()))


def test_a_resumed_run_goes_on_in_pieces(tmp_path: Path) -> None:
    """It does not run out of memory again, and comes out the same to the bit."""
    whole, work, _ = work_within(2)
    steps(whole, work, 5)
    parts, work, _ = work_within(2)
    for report in train(work, state=parts, config=settings(), total=5):
        if report.step == 3:
            break
    again, work, tried = work_within(2)
    load_state(again, save_state(parts, tmp_path))
    assert again.pieces == 2
    steps(again, work, 5)
    assert set(tried) == {2}
    ours, theirs = everything(again), everything(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_pieces_are_of_whole_examples() -> None:
    samples = [
        build("causal", VOCABULARY).sample(text_row(np.random.default_rng(i)), np.random.default_rng(i), 0.0)
        for i in range(5)
    ]
    batch = stacked(samples)
    rows = {pieces: [len(one.tokens) for one in in_pieces(batch, pieces)] for pieces in (1, 2, 4, 8)}
    assert rows == {1: [5], 2: [3, 2], 4: [2, 2, 1], 8: [1] * 5}
    assert torch.equal(torch.cat([one.tokens for one in in_pieces(batch, 2)]), batch.tokens)
    assert in_pieces(replace(batch, splitter=None), 4)[0].tokens is batch.tokens
