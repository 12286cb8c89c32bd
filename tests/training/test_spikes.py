"""Losses far above those before them are not learned; a run that is clean, noisy, or new from here on is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bothways.training.config import TrainingConfig
from bothways.training.loop import train
from bothways.training.spikes import LASTING, STEPS, spike
from bothways.training.state import State, load_state, save_state
from tests.training.small import assert_same, everything, settings, small_model, state_of, work_of

AT = STEPS + 12


def judged(losses: list[float], sigma: float | None = 6.0) -> list[int]:
    """The numbers of the steps that are not learned."""
    state = state_of(small_model(), settings().optimiser)
    return [number for number, loss in enumerate(losses) if spike(state, loss, sigma) is not None]


def falling(steps: int, *, noise: float = 0.1, seed: int = 0) -> list[float]:
    """As the loss of a language model does."""
    rng = np.random.default_rng(seed)
    return [3 + 6 / (1 + step / 30) + noise * float(rng.normal()) for step in range(steps)]


def test_a_loss_ten_times_as_high_is_skipped_and_a_clean_run_is_not() -> None:
    clean = falling(2000)
    assert judged(clean) == []
    spiked = [loss * 10 if step in (AT, 700, 701, 1500) else loss for step, loss in enumerate(clean)]
    assert judged(spiked) == [AT, 700, 701, 1500]
    assert judged(spiked, sigma=None) == []


def test_the_limit_is_six_deviations_of_the_last_128_that_were_learned() -> None:
    rng = np.random.default_rng(0)
    state = state_of(small_model(), settings().optimiser)
    state.recent = (5 + rng.normal(size=STEPS)).tolist()
    expected = np.mean(state.recent) + 6 * np.std(state.recent)
    before = list(state.recent)
    assert spike(state, expected + 1e-6, 6.0) == pytest.approx(expected)
    assert (state.recent, state.spikes) == (before, 1)
    assert spike(state, expected - 1e-6, 6.0) is None
    assert state.recent == [*before[1:], expected - 1e-6]


def test_before_there_are_128_every_step_is_learned() -> None:
    assert judged([1.0] * (STEPS - 1) + [50.0]) == []
    assert judged([1.0] * STEPS + [50.0]) == [STEPS]


def test_a_rise_that_lasts_is_learned() -> None:
    """Other text from step 300 on: three steps are lost, and no more, however often it changes."""
    losses = [2 + 0.01 * (step % 7) + 3 * (step >= 300) + 3 * (step >= 900) for step in range(1500)]
    assert judged(losses) == [*range(300, 300 + LASTING), *range(900, 900 + LASTING)]


def test_a_run_that_repeats_itself_has_no_spikes() -> None:
    """The same batch again and again: the deviation is that of the trend alone, and a ripple is no spike."""
    assert judged([1e-3 * 0.999**step + (2e-5 if step == 300 else 0.0) for step in range(400)]) == []
    assert judged([0.0] * 400) == []


def spiky(sigma: float | None = 6.0) -> tuple[State, TrainingConfig]:
    config = settings().model_copy(update={"spike_sigma": sigma})
    return state_of(small_model(), config.optimiser), config


def test_a_spike_changes_nothing_and_is_told() -> None:
    """Only of the loss: its gradient is clipped, and would be learned."""
    config = settings()
    model = small_model()
    state = state_of(model, config.optimiser)
    state.recent = [5.3] * STEPS
    work = work_of(model, spoil=lambda step, batch: 10.0 if step == 1 else 1.0)
    steps = train(work, state=state, config=config, total=4)
    assert next(steps).spike is None
    before = everything(state)
    report = next(steps)
    assert report.spike is not None and report.loss > report.spike > 5.3
    assert (report.spikes, report.skipped, state.skipped_in_a_row) == (1, 0, 0)
    assert_same(everything(state), before)
    third = next(steps)
    assert (third.spike, third.spikes) == (None, 1)
    assert not np.array_equal(everything(state)["backbone.norm.weight"], before["backbone.norm.weight"])


def test_switched_off_it_is_learned() -> None:
    config = settings().model_copy(update={"spike_sigma": None})
    model = small_model()
    state = state_of(model, config.optimiser)
    state.recent = [5.3] * STEPS
    work = work_of(model, spoil=lambda step, batch: 10.0)
    assert [report.spikes for report in train(work, state=state, config=config, total=3)] == [0, 0, 0]


def test_a_resumed_run_remembers_the_losses(tmp_path: Path) -> None:
    """Stopped between two spikes, it judges the second as the run that was never stopped."""
    config = settings()

    def begun() -> tuple[State, object]:
        model = small_model()
        state = state_of(model, config.optimiser)
        state.recent = falling(STEPS, noise=1e-3)
        return state, train(
            work_of(model, spoil=lambda step, batch: 10.0 if step in (2, 5) else 1.0),
            state=state,
            config=config,
            total=8,
        )

    whole, steps = begun()
    assert [report.spikes for report in steps] == [0, 0, 1, 1, 1, 2, 2, 2]  # type: ignore[attr-defined]
    parts, steps = begun()
    for report in steps:  # type: ignore[attr-defined]
        if report.step == 4:
            break
    again, steps = begun()
    load_state(again, save_state(parts, tmp_path))
    assert again.counters() == parts.counters()
    list(steps)  # type: ignore[call-overload]
    assert again.counters() == whole.counters() and again.spikes == 2
    assert_same(everything(again), everything(whole))
