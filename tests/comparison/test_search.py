"""The search for a learning rate: it finds the least loss, goes on at an end, and stops."""

from __future__ import annotations

import math

import pytest

from bothways.comparison.search import Search, Trial, _widened


def test_an_end_is_known_as_one() -> None:
    trials = tuple(Trial(factor, 1.0, 1.0, 1.0) for factor in (0.5, 1.0, 2.0))
    assert Search(2.0, trials).at_an_end and Search(0.5, trials).at_an_end
    assert not Search(1.0, trials).at_an_end and not Search(1.0, ()).at_an_end


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
