"""Differences are told from chance: the formulas, and how often chance alone is called a difference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bothways.evaluation.comparison.metrics import ScoredItems
from bothways.statistics import Compared, bootstrap
from bothways.statistics import compared as compared_arrays


def compared(items: list[list[ScoredItems]]) -> Compared:
    value, weight = (np.array([[getattr(one, key) for one in some] for some in items]) for key in ("value", "weight"))
    return compared_arrays(value, weight)


def items(values: np.ndarray) -> ScoredItems:
    return ScoredItems.right(values)


def drawn(
    rng: np.random.Generator, means: list[float], *, seeds: int, count: int, run_sd: float
) -> list[list[ScoredItems]]:
    """Objectives with these means: a run's own deviation, a seed's common one, and noise of every item."""
    common = rng.normal(0, 3 * run_sd, seeds)
    return [
        [items(rng.normal(mean + rng.normal(0, run_sd) + common[s], 0.1, count)) for s in range(seeds)]
        for mean in means
    ]


def test_the_pooled_variance_is_that_of_a_two_way_analysis() -> None:
    figures = np.array([[1.0, 2.0, 4.0], [2.0, 3.5, 4.5], [0.5, 2.5, 3.0]])
    found = compared([[items(np.full(50, figure)) for figure in row] for row in figures])
    grand, rows, columns = figures.mean(), figures.mean(1), figures.mean(0)
    residual = sum((figures[k, s] - rows[k] - columns[s] + grand) ** 2 for k in range(3) for s in range(3))
    assert found.seed_sd == pytest.approx(np.sqrt(residual / 4))
    width = stats.studentized_range.ppf(0.95, 3, 4) / np.sqrt(2) * np.sqrt(2 * residual / 4 / 3)  # items do not vary
    assert found.halves[0, 1] == pytest.approx(width)
    assert found.means == pytest.approx(rows)


def test_resampled_items_give_the_standard_error_of_a_mean() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 400))
    found = compared([[items(one)], [items(other)]])
    error = (one - other).std() / np.sqrt(400)
    assert found.halves[0, 1] == pytest.approx(1.96 * error, rel=0.08)
    assert np.isnan(found.seed_sd)


def test_items_are_paired() -> None:
    """Models that are right and wrong on the same items are told apart by a few others."""
    hard = np.random.default_rng(0).random(1000) < 0.5
    better = hard.copy()
    better[:40] = True
    assert compared([[items(better)], [items(hard)]]).exceeds(0, 1)
    alone = np.random.default_rng(1).permutation(better)
    assert not compared([[items(alone)], [items(hard)]]).exceeds(0, 1)


def test_what_a_seed_does_to_all_objectives_is_no_noise() -> None:
    shift = np.array([0.0, 5.0, -5.0])
    found = compared([[items(np.full(9, mean + by)) for by in shift] for mean in (1.0, 2.0, 3.0)])
    assert found.seed_sd == pytest.approx(0, abs=1e-9)
    assert found.exceeds(0, 1) and found.exceeds(1, 2)


def test_chance_alone_is_seldom_called_a_difference() -> None:
    """Over a whole table of equal objectives: at most about 5 % have any difference."""
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(100):
        found = compared(drawn(rng, [0.5] * 5, seeds=3, count=60, run_sd=0.05))
        false += any(found.exceeds(i, j) for i in range(5) for j in range(i))
    assert false <= 10


def test_a_large_difference_is_found_and_a_small_one_is_not() -> None:
    rng = np.random.default_rng(0)
    found = compared(drawn(rng, [0.5, 0.9, 0.51], seeds=3, count=60, run_sd=0.03))
    assert found.exceeds(0, 1) and found.exceeds(2, 1) and not found.exceeds(0, 2)


def test_one_objective_has_nothing_to_be_compared_with() -> None:
    assert compared([[items(np.ones(5))]]).halves.shape == (1, 1)


def test_figures_are_sums_over_sums() -> None:
    some = ScoredItems(np.array([2.0, 6.0]), np.array([1.0, 3.0]))
    assert some.figure == 2.0


def test_where_items_do_not_vary_the_freedom_is_that_of_the_seeds() -> None:
    """Four objectives and two seeds leave three degrees, however the division rounds."""
    for scale in np.linspace(0.1, 2, 40):
        figures = scale * np.array([[1.0, 2.0], [1.5, 2.1], [0.7, 2.2], [1.1, 1.4]])
        found = compared([[items(np.full(20, figure)) for figure in row] for row in figures])
        width = stats.studentized_range.ppf(0.95, 4, 3) / np.sqrt(2) * found.seed_sd
        assert found.halves[0, 1] == pytest.approx(width)


def test_a_score_that_some_draws_do_not_have_is_taken_of_the_others() -> None:
    """The share of one label among the draws that hold it."""

    def score(drawn: list[int]) -> dict[str, float]:
        return {"share": drawn.count(0) / len(drawn) if 0 in drawn else math.nan, "none": math.nan}

    low, high = bootstrap(score, 4)["share"]
    assert 0 < low <= high <= 1
    assert all(map(math.isnan, bootstrap(score, 4)["none"]))
