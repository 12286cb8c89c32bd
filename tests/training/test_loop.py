"""The loop: what a report says, what is skipped, when it stops."""

from __future__ import annotations

import math
import signal
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bothways.batch import Batch
from bothways.errors import DivergedError
from bothways.model.losses import plain_loss
from bothways.objectives import build
from bothways.stopping import Signalled
from bothways.training.loop import Report, _add, _forget_at_turns, train
from tests.training.small import (
    LENGTH,
    OPTIMISERS,
    VOCABULARY,
    assert_same,
    batches,
    everything,
    settings,
    small_model,
    state_of,
    work_of,
)

BAD = [math.nan, math.inf, -math.inf]


def run(steps: int, *, optimiser: str = "adamw", dtype: torch.dtype = torch.float32, **work: object) -> list[Report]:
    model, config = small_model(), settings(optimiser)
    state = state_of(model, config.optimiser, dtype=dtype)
    return list(train(work_of(model, **work), state=state, config=config, total=steps))


def test_a_report_is_the_mean_over_everything_said() -> None:
    model, config = small_model(), settings()
    built = build("hybrid", VOCABULARY)
    (whole,) = batches(built, rows=8, each=8)
    sums = {name: [float(x.detach()) for x in pair] for name, pair in plain_loss(model, whole).items()}
    state = state_of(model, config.optimiser)
    report = next(train(work_of(model), state=state, config=config, total=10))
    assert report.loss == pytest.approx(sum(s for s, _ in sums.values()) / sum(c for _, c in sums.values()), rel=1e-5)
    assert report.losses == pytest.approx({name: s / c for name, (s, c) in sums.items()}, rel=1e-5)
    assert (report.step, report.tokens, report.skipped) == (1, 8 * LENGTH, 0)
    assert report.learning_rate == pytest.approx(
        state.optimisers[0].param_groups[0]["peak"] / 3
    )  # the first of two steps of warm-up


def test_it_learns() -> None:
    """The same eight rows again and again."""
    model, config = small_model(), settings(learning_rate=1e-2)
    work = work_of(model, objective="causal")
    again = type(work)(work.losses, lambda step, progress: work.batches(0, 0.0), work.names)
    reports = list(train(again, state=state_of(model, config.optimiser), config=config, total=60))
    assert reports[-1].loss < reports[0].loss / 3


def test_the_gradient_is_clipped() -> None:
    """A thousandfold loss: the first step of an optimiser that sees lengths is that of the plain loss, clipped."""
    found = []
    for factor in (1e3, 1e6):
        model, config = small_model(), settings("bert-adam")
        state = state_of(model, config.optimiser)
        (report,) = train(work_of(model, spoil=lambda step, batch, f=factor: f), state=state, config=config, total=1)
        assert report.gradient_norm > 1
        moments = torch.cat([state.optimisers[0].state[w]["exp_avg"].flatten() for w in state.weights.master.values()])
        found.append(moments)
        assert float(moments.norm()) == pytest.approx(0.1, rel=1e-4)  # (1 - beta1) x a gradient of length 1
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_step_that_is_not_finite_changes_nothing(optimiser: str, value: float) -> None:
    """One of the four batches of step 2 is spoilt: after it, weights and moments are what they were after step 1."""
    model, config = small_model(), settings(optimiser)
    state = state_of(model, config.optimiser, dtype=torch.bfloat16)
    work = work_of(model, spoil=lambda step, batch: value if (step, batch) == (1, 2) else 1.0)
    steps = train(work, state=state, config=config, total=4)
    next(steps)
    before = everything(state)
    report = next(steps)
    assert (report.step, report.skipped) == (2, 1)
    assert not math.isfinite(report.loss)
    assert_same(everything(state), before)
    third = next(steps)
    assert (third.skipped, state.skipped_in_a_row) == (1, 0)
    assert math.isfinite(third.loss)
    assert not torch.equal(everything(state)["backbone.norm.weight"], before["backbone.norm.weight"])


@pytest.mark.parametrize("value", BAD)
def test_a_gradient_that_is_not_finite_is_enough(value: float) -> None:
    """The loss is fine, one number of the gradient is not."""
    model, config = small_model(), settings()
    state = state_of(model, config.optimiser)
    before = everything(state)

    def spoil(gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[0] = value
        return gradient

    model.backbone.norm.weight.register_hook(spoil)
    report = next(train(work_of(model), state=state, config=config, total=4))
    assert report.skipped == 1
    assert math.isfinite(report.loss)
    assert_same(everything(state), before)


def test_five_in_a_row_and_it_stops() -> None:
    model, config = small_model(), settings()
    state = state_of(model, config.optimiser)
    bad = {1, 2, 3, 4, 7, 8, 9, 10, 11}  # four in a row are borne
    work = work_of(model, spoil=lambda step, batch: math.nan if step in bad else 1.0)
    seen = []
    with pytest.raises(DivergedError, match=r"step 12.*--resume --set training\.optimiser\.learning_rate"):
        seen += [report.skipped for report in train(work, state=state, config=config, total=20)]
    assert (state.step, state.skipped, state.skipped_in_a_row) == (12, 9, 5)


@pytest.mark.parametrize("batch", [0, 1, 7, 8])
def test_a_stop_leaves_the_step_out_that_was_begun(batch: int) -> None:
    """The signal comes before one of the eight micro-batches of step 3, or after the last of them."""
    model, config = small_model(), settings()
    state = state_of(model, config.optimiser)
    work, seen = work_of(model, each=1), 0
    before: dict[str, Tensor] = {}

    def stop() -> int:
        nonlocal seen
        seen = seen + 1 if state.step == 2 else 0
        return signal.SIGTERM if seen > batch else 0

    def noting(step: int, progress: float) -> Sequence[Batch]:
        state.notes["flops"] = step
        return work.batches(step, progress)

    steps = train(replace(work, batches=noting), state=state, config=config, total=3, stop=stop)
    with pytest.raises(Signalled) as came:
        for _ in steps:
            before = everything(state)
    assert (came.value.exit_code, state.step, state.notes) == (143, 2, {"flops": 1})
    assert_same(everything(state), before)


def test_dropout_and_drawn_losses_are_a_function_of_seed_and_step() -> None:
    """The generator that a loss is given, and torch's own, whatever was drawn before."""
    drawn: list[tuple[float, float]] = []

    def once(*, noise: int) -> list[tuple[float, float]]:
        drawn.clear()
        torch.manual_seed(noise)
        model, config = small_model(), settings()
        work = work_of(model)

        def losses(batch, generator):  # type: ignore[no-untyped-def]
            drawn.append((float(torch.rand((), generator=generator)), float(torch.rand(()))))
            return work.losses(batch, generator)

        drawing = type(work)(losses, work.batches, work.names)
        list(train(drawing, state=state_of(model, config.optimiser), config=config, total=2))
        return list(drawn)

    assert once(noise=1) == once(noise=2)
    assert len(set(drawn)) == 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_runs_are_repeatable_to_the_bit(dtype: torch.dtype) -> None:
    assert run(3, dtype=dtype) == run(3, dtype=dtype)


@pytest.mark.parametrize("name", ["causal", "mlm", "hybrid", "unilm2", "mass", "diffusion", "any-order"])
def test_no_micro_batch_waits_for_its_device(name: str) -> None:
    """On the device "meta" there are no numbers: whatever looked at one (a shape that depends on it, a copy) fails."""
    objective = build(name, VOCABULARY)
    model = small_model().to("meta")
    (batch,) = batches(objective, rows=4, each=4)
    moved = batch.to("meta")
    losses = plain_loss(model, moved)
    torch.stack([loss for loss, _ in losses.values()]).sum().backward()
    _add(losses, torch.zeros(len(losses), 2, dtype=torch.float64, device="meta"), tuple(losses))
    assert all(parameter.grad is not None for parameter in model.backbone.blocks.parameters())


@pytest.mark.parametrize(("measured", "forgotten"), [(6, True), (None, False)])
def test_a_turn_before_the_number_of_steps_was_known_is_not_missed(measured: int | None, forgotten: bool) -> None:
    """A turn at the fifth of thirty steps, of which six were done when it was found that there are thirty."""
    model = small_model()
    state = state_of(model, settings("adamw").optimiser)
    state.optimisers[0].state[torch.zeros(1)] = {"exp_avg": torch.ones(1)}
    state.step, state.notes = 6, {} if measured is None else {"measured": measured}
    work = replace(work_of(model), turns=(5 / 30,))
    _forget_at_turns(work, state, 30)
    assert (not state.optimisers[0].state) is forgotten
