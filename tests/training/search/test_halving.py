"""Successive halving over trials that are made up: who goes on, for how long, and what the plan says it costs."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import pytest

from bothways.training.search.candidates import SearchCandidate, combinations_of, folder_name, further
from bothways.training.search.halving import Trial, successive_halving
from bothways.training.search.plan import LAST, LOWER, RUNGS, WorstCase, last_two, one_further, walk

Loss = Callable[[SearchCandidate, float], float]


class MadeUp:
    """Trials whose losses are a function; each is done once."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.done: list[tuple[str, float]] = []

    def __call__(self, candidate: SearchCandidate, budget: float) -> Trial:
        if (candidate.label, budget) not in self.done:
            self.done.append((candidate.label, budget))
        return Trial(candidate, budget, self.loss(candidate, budget), 10, 0, 1.0, 1.0, budget)


def rates(*factors: float) -> list[SearchCandidate]:
    return [SearchCandidate(rate=factor) for factor in factors]


def best_at(rate: float, *, diverges_from: float = math.inf) -> Loss:
    return lambda one, budget: math.inf if one.rate >= diverges_from else abs(math.log(one.rate / rate))


def test_the_better_half_goes_on() -> None:
    tried, dropped = MadeUp(best_at(2.0)), list[str]()
    rungs = successive_halving(
        rates(0.25, 0.5, 1, 2, 4), (1, 2, 4), tried, dropped=lambda one: dropped.append(one.candidate.label)
    )
    assert [[trial.candidate.rate for trial in rung] for rung in rungs] == [[2, 1, 4, 0.5, 0.25], [2, 1, 4], [2, 1]]
    assert dropped == ["rate x 0.5", "rate x 0.25", "rate x 4", "default"]


def test_a_candidate_that_learns_late_wins_if_it_was_kept() -> None:
    def slow(one: SearchCandidate, budget: float) -> float:
        return {1.0: 3.0, 2.0: 3.1 - budget / 2, 4.0: 9.0}[one.rate]

    rungs = successive_halving(rates(1, 2, 4), (0.1, 1.0), MadeUp(slow))
    assert rungs[0][0].candidate.rate == 1.0 and rungs[-1][0].candidate.rate == 2.0


def test_what_diverges_goes_no_further() -> None:
    rungs = successive_halving(rates(1, 2, 4, 8), (1, 2), MadeUp(best_at(8.0, diverges_from=2.0)))
    assert [[trial.candidate.rate for trial in rung] for rung in rungs] == [[1, 2, 4, 8], [1]]
    nothing = successive_halving(rates(1, 2), (1, 2), MadeUp(best_at(1.0, diverges_from=0.0)))
    assert [math.isinf(trial.loss) for trial in nothing[-1]] == [True, True] and len(nothing) == 1


def widened(best: float, *, at_most: int = 4, diverges_from: float = math.inf) -> tuple[float, list[float]]:
    """The rate found when the loss is least at `best`, and the rates that were tried in order."""
    tried, order = MadeUp(best_at(best, diverges_from=diverges_from)), list[float]()

    def trial(candidate: SearchCandidate, budget: float) -> Trial:
        order.append(candidate.rate)
        return tried(candidate, budget)

    def beyond(trials: object) -> SearchCandidate | None:
        return one_further(at_most, trials)  # type: ignore[arg-type]

    rungs = successive_halving(rates(0.5, 1, 2), (1.0,), trial, beyond=beyond)
    return rungs[-1][0].candidate.rate, order


@pytest.mark.parametrize(
    ("best", "found", "tried"),
    [
        (1.0, 1.0, [0.5, 1, 2]),
        (4.0, 4.0, [0.5, 1, 2, 4]),
        (0.1, 0.25, [0.5, 1, 2, 0.25]),
        (1.2, 1.0, [0.5, 1, 2]),
    ],
)
def test_the_best_rate_is_found(best: float, found: float, tried: list[float]) -> None:
    assert widened(best) == (found, tried)


def test_it_goes_on_while_the_end_is_best_and_stops_at_the_bound() -> None:
    assert widened(16.0, at_most=6) == (16.0, [0.5, 1, 2, 4, 8, 16])
    assert widened(1e9, at_most=5) == (8.0, [0.5, 1, 2, 4, 8])


def test_what_diverges_never_wins() -> None:
    assert widened(16.0, at_most=6, diverges_from=4.0) == (2.0, [0.5, 1, 2, 4])
    assert widened(1.0, diverges_from=0.0)[0] == 0.5  # all diverged: whoever asked will say so


def test_a_rate_is_beyond_among_those_of_its_own_settings() -> None:
    adamw = [SearchCandidate({"training.optimiser.name": "adamw"}, rate) for rate in (1.0, 3.0)]
    found = further([*rates(0.5, 1, 2), *adamw], [5, 4, 5, 3, 2])
    assert found == SearchCandidate({"training.optimiser.name": "adamw"}, 9.0)
    assert (
        further([SearchCandidate({"training.step_tokens": 64}), SearchCandidate()], [1.0, 2.0]) is None
    )  # one rate alone


def test_a_stage_is_tried_around_the_best_of_the_one_before_which_is_not_tried_again() -> None:
    stages = ({"training.optimiser.name": ["muon", "adamw"], "rate": [1.0, 2.0]}, {"training.step_tokens": [64, 128]})
    default = {"training.optimiser.name": "muon", "training.step_tokens": 64}

    def loss(one: SearchCandidate, budget: float) -> float:
        wanted = {"training.optimiser.name": "adamw", "training.step_tokens": 128}
        return sum(one.settings.get(name) != value for name, value in wanted.items()) + one.rate / 10 - budget / 100

    tried, dropped = MadeUp(loss), list[str]()
    best = walk(stages, default, 1.0, tried, lambda one: dropped.append(one.candidate.label))
    assert best.settings == {"training.optimiser.name": "adamw", "training.step_tokens": 128} and best.rate == 0.5
    assert "optimiser.name adamw, step_tokens 128, rate x 0.5" in {label for label, _ in tried.done}
    assert not {label for label, _ in tried.done if label.startswith("step_tokens")}  # not with the worse optimiser
    assert "optimiser.name adamw, rate x 0.5" in dropped and best.label not in dropped
    assert len(tried.done) == len(set(tried.done))


def test_nothing_takes_longer_than_the_worst_case() -> None:
    """Whatever the losses, the units and runs of a search stay within what was dealt out."""
    stages = ({"training.a": [1, 2], "rate": [0.5, 1.0, 2.0]}, {"training.b": [1, 2, 3]}, {"training.c": [1, 2, 3]})
    default = {"training.a": 1, "training.b": 2, "training.c": 2}
    worst = WorstCase.of(stages, default, lambda one: 0.7)
    for seed in range(200):

        def loss(one: SearchCandidate, budget: float, seed: int = seed) -> float:
            return float(zlib.crc32(f"{one.label} {budget} {seed}".encode()) % 1000)

        tried = MadeUp(loss)
        best = walk(stages, default, 1.0, tried, lambda one: None)
        for candidate in last_two(best):
            tried(candidate, LAST)
        units = 0.0
        for label, budget in tried.done:
            shorter = [other for name, other in tried.done if name == label and other < budget]
            units += budget - 0.7 * max(shorter, default=0.0)
        assert units <= worst.units + 1e-9 and len(tried.done) <= worst.runs


def test_runs_that_cannot_go_on_cost_more() -> None:
    stages = ({"rate": [0.5, 1.0]},)
    lasting, anew = (WorstCase.of(stages, {}, lambda one, share=share: share) for share in (0.7, 0.0))  # type: ignore[misc]
    assert anew.runs == lasting.runs and anew.units > lasting.units > LAST


def test_in_the_end_the_best_stands_beside_itself_at_a_lower_rate() -> None:
    best = SearchCandidate({"training.step_tokens": 64}, 2.0)
    assert last_two(best) == (best, SearchCandidate({"training.step_tokens": 64}, 2.0 * LOWER)) and sorted(RUNGS) == [
        *RUNGS
    ]


def test_a_candidate_is_named_by_what_differs() -> None:
    default = {"training.optimiser.name": "muon", "model.layers": None}
    made = [
        SearchCandidate().changed(settings, default).label
        for settings in combinations_of(
            {
                "training.optimiser.name": ["muon", "adamw"],
                "model.layers": [3],
                "rate": [1, 0.5],
            }
        )
    ]
    assert made == [
        "model.layers 3",
        "model.layers 3, rate x 0.5",
        "model.layers 3, optimiser.name adamw",
        "model.layers 3, optimiser.name adamw, rate x 0.5",
    ]
    assert len({folder_name(label) for label in made}) == 4
