"""The search for a learning rate: it finds the least loss, goes on at an end, and stops."""

from __future__ import annotations

import math

import pytest

from bothways.comparison.search import Trial, _widened


def searched(best: float, *, at_most: int = 4, diverges_from: float = math.inf) -> tuple[float, list[float]]:
    """The factor found when the loss is least at `best`, and the factors that were tried in order."""
    tried: list[float] = []

    def trial(factor: float) -> Trial:
        tried.append(factor)
        loss = math.inf if factor >= diverges_from else abs(math.log(factor / best))
        return Trial(factor, loss, 1.0, 1.0)

    return _widened([0.5, 1.0, 2.0], trial, at_most=at_most).factor, tried


@pytest.mark.parametrize(
    ("best", "found", "tried"),
    [
        (1.0, 1.0, [0.5, 1, 2]),
        (4.0, 4.0, [0.5, 1, 2, 4]),
        (0.1, 0.25, [0.5, 1, 2, 0.25]),
        (1.2, 1.0, [0.5, 1, 2]),
    ],
)
def test_the_best_is_found(best: float, found: float, tried: list[float]) -> None:
    assert searched(best) == (found, tried)


def test_it_goes_on_while_the_end_is_best_and_stops_at_the_bound() -> None:
    assert searched(16.0, at_most=6) == (16.0, [0.5, 1, 2, 4, 8, 16])
    assert searched(1e9, at_most=5) == (8.0, [0.5, 1, 2, 4, 8])


def test_what_diverges_never_wins() -> None:
    assert searched(16.0, at_most=6, diverges_from=4.0) == (2.0, [0.5, 1, 2, 4])
    assert searched(1.0, diverges_from=0.0)[0] == 0.5  # all diverged: the run that counts will say so
