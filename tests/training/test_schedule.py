"""The learning rate at every step, against values worked out by hand, and what holds for all of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.training.config import ScheduleConfig
from bothways.training.schedule import decay_start, learning_rate


def rates(total: int, **fields: object) -> list[float]:
    config = ScheduleConfig.model_validate(fields)
    return [learning_rate(config, step, total) for step in range(total)]


def test_wsd_warms_up_holds_and_falls() -> None:
    assert rates(10, shape="wsd", warmup_steps=3, decay=0.4) == pytest.approx(
        [1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5]
    )


def test_linear_falls_all_the_way() -> None:
    assert rates(6, shape="linear", warmup_steps=1) == pytest.approx([1 / 2, 5 / 5, 4 / 5, 3 / 5, 2 / 5, 1 / 5])


def test_cosine_is_half_way_in_the_middle() -> None:
    found = rates(6, shape="cosine", warmup_steps=0)
    assert found == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 6)) for k in range(6)])
    assert found[3] == pytest.approx(0.5)


def test_the_floor_is_what_is_left() -> None:
    assert rates(4, shape="linear", warmup_steps=0, floor=0.5) == pytest.approx([1, 0.875, 0.75, 0.625])
    assert rates(4, shape="wsd", warmup_steps=0, decay=0.0) == [1.0] * 4


@pytest.mark.parametrize(("warmup", "decay", "start"), [(2, 0.3, 14), (18, 0.3, 18), (50, 0.3, 20), (0, 1.0, 0)])
def test_where_wsd_begins_to_fall(warmup: int, decay: float, start: int) -> None:
    assert decay_start(ScheduleConfig(warmup_steps=warmup, decay=decay), 20) == start


@given(
    shape=st.sampled_from(["wsd", "cosine", "linear"]),
    warmup=st.integers(0, 50),
    decay=st.floats(0, 1),
    floor=st.floats(0, 1),
    total=st.integers(1, 120),
)
def test_it_is_never_zero_rises_then_falls_and_stays_in_bounds(
    shape: str, warmup: int, decay: float, floor: float, total: int
) -> None:
    found = rates(total, shape=shape, warmup_steps=warmup, decay=decay, floor=floor)
    assert all(0 < rate <= 1 for rate in found)
    rising, falling = found[:warmup], found[warmup:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert all(rate >= floor - 1e-9 for rate in falling)


@given(warmup=st.integers(0, 20), decay=st.floats(0, 1), total=st.integers(1, 100), more=st.integers(0, 100))
def test_before_the_fall_wsd_does_not_know_the_budget(warmup: int, decay: float, total: int, more: int) -> None:
    config = ScheduleConfig(warmup_steps=warmup, decay=decay)
    assert decay_start(config, total) <= decay_start(config, total + more)
    for step in range(decay_start(config, total)):
        assert learning_rate(config, step, total) == learning_rate(config, step, total + more)
