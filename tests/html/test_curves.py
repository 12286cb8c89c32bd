"""Curves as SVG: round ticks, thinned and smoothed without bending, level names that do not overlap."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.html import kit
from bothways.html.curves import AXES, HEIGHT, LEFT, MOST_POINTS, NAMES_GAP, WIDTH, Chart, Curve, ticks

TOKENS, SECONDS, STEPS, _ = AXES


def lines(values: list[float]) -> list[dict[str, Any]]:
    return [{"step": i, "tokens": 100 * i, "seconds": 2.0 * i, "loss": value} for i, value in enumerate(values)]


def drawn(values: list[float], **options: Any) -> str:
    chart = Chart("Loss", "How surprised it is.", [Curve.of("held-out", lines(values), "loss")], **options)
    return kit("curves", chart, TOKENS, "one")


def points(svg: str) -> list[tuple[float, float]]:
    path = re.search(r'<path d="M([^"]*)"', svg)
    assert path
    return [(float(x), float(y)) for x, y in (pair.split() for pair in path[1].split("L"))]


@given(
    low=st.floats(-1e6, 1e6),
    span=st.floats(1e-3, 1e9),
    most=st.integers(3, 10),
)
def test_ticks_are_few_round_and_inside(low: float, span: float, most: int) -> None:
    high = low + span
    found = ticks(low, high, most)
    assert 1 <= len(found) <= most + 1
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in found)
    steps = {f"{(b - a):.3e}" for a, b in pairwise(found)}
    assert all(step[0] in "125" for step in steps) or span < 1e-9 * abs(low)


def test_ticks_as_one_would_choose_them() -> None:
    assert ticks(0, 16.4, 5) == [0, 5, 10, 15]
    assert ticks(1.63, 2.72, 6) == [1.8, 2.0, 2.2, 2.4, 2.6]
    assert ticks(0, 0.003, 5) == [0, 0.001, 0.002, 0.003]


def test_small_numbers_are_written_short() -> None:
    svg = drawn([0.0015, 0.001, 0.0], from_zero=True)
    assert re.findall(r'class="end">([^<]+)', svg) == ["0", "5e-4", "1e-3", "1.5e-3"]


def test_what_is_never_negative_is_not_drawn_below_zero() -> None:
    assert Chart("Accuracy", "", [Curve.of("dev", lines([0.0, 0.0]), "loss")]).bounds() == (0.0, 0.1)
    assert Chart("Spearman", "", [Curve.of("dev", lines([-0.2, 0.1]), "loss")]).bounds()[0] < -0.2


def test_numbers_beside_a_curve_differ_from_each_other() -> None:
    named = re.findall(r'class="end">([^<]+)', drawn([1.0992, 1.0975, 1.0981]))
    assert len(set(named)) == len(named) > 2


def test_points_land_where_they_belong() -> None:
    placed = points(drawn([4.0, 3.0, 2.0]))
    assert placed[0][0] == LEFT
    assert placed[0][1] < placed[1][1] < placed[2][1]  # lower is further down
    assert placed[1][0] == pytest.approx((placed[0][0] + placed[2][0]) / 2, abs=0.1)


def test_a_steep_beginning_runs_off_the_top() -> None:
    svg = drawn([1000.0, *([3.0] * 50), 2.0])
    (_, first), *rest = points(svg)
    assert first < -HEIGHT
    assert all(0 < y < HEIGHT for _, y in rest)
    assert "clip-path" in svg


def test_long_runs_are_thinned_and_end_at_the_end() -> None:
    many = Curve.of("loss", lines([float(i) for i in range(10_001)]), "loss").on(STEPS)
    assert len(many) <= MOST_POINTS + 1
    assert many[0] == (0.0, 0.0)
    assert many[-1] == (10_000.0, 10_000.0)


def test_smoothing_keeps_straight_lines_straight() -> None:
    curve = Curve.of("loss", lines([5.0 - i / 100 for i in range(400)]), "loss").smoothed()
    values = [value for _, value in curve.points]
    assert values[:380] == pytest.approx([5.0 - i / 100 for i in range(380)])
    flat = Curve.of("loss", lines([2.5] * 100), "loss").smoothed()
    assert [value for _, value in flat.points] == pytest.approx([2.5] * 100)


def test_values_that_are_no_numbers_are_left_out() -> None:
    odd: list[Any] = [3.0, None, "2.0", float("nan"), float("inf"), 2.0]
    assert [value for _, value in Curve.of("loss", lines(odd), "loss").points] == [3.0, 2.0]
    assert drawn([]) == ""


def test_names_of_levels_do_not_overlap() -> None:
    svg = drawn([4.0, 3.0], levels=[("trigram", 3.51), ("bigram", 3.52), ("unigram", 3.9)])
    names = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="level-name">(\w+)', svg)
    assert [name for _, _, name in names] == ["unigram", "bigram", "trigram"]
    heights = [float(y) for _, y, _ in names]
    assert all(b - a >= NAMES_GAP - 0.01 for a, b in pairwise(heights))


@pytest.mark.parametrize("name", ["unigram", "commonest class", "TF-IDF, no body"])
def test_a_level_s_name_has_room_on_a_phone(name: str) -> None:
    """Letters there are 14.5 units high, and half as wide."""
    (x,) = re.findall(r'<text x="([\d.]+)" y="[\d.]+" class="level-name">', drawn([4.0, 3.0], levels=[(name, 3.5)]))
    assert float(x) + 14.5 / 2 * len(name) <= WIDTH


@pytest.mark.parametrize(
    ("furthest", "worth", "unit"), [(90, 1, "seconds"), (300, 60, "minutes"), (20_000, 3600, "hours")]
)
def test_time_is_told_in_a_unit_that_suits_it(furthest: float, worth: float, unit: str) -> None:
    assert SECONDS.unit(furthest) == (worth, f"{unit} of training")
    assert TOKENS.unit(furthest) == (1.0, "tokens read")


def test_one_point_is_a_dot() -> None:
    assert drawn([4.0]).count("<circle") == 1
    assert drawn([0.0], percent=True).count("<circle") == 1
