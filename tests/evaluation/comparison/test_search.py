"""The search for an objective's learning rate: its trials are planned, halved and gone on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bothways.corpus import Shards
from bothways.evaluation.comparison import CompareConfig
from bothways.evaluation.comparison.search import RateSearch, search
from bothways.objectives import build
from bothways.training.search.candidates import SearchCandidate
from bothways.training.search.halving import Trial
from bothways.training.workers import Workers


def test_an_end_is_known_as_one() -> None:
    trials = tuple(Trial(SearchCandidate(rate=factor), 0.2, 1.0, 9, 0, 1.0, 1.0, 0.2) for factor in (0.5, 1.0, 2.0))
    assert RateSearch(2.0, trials).at_an_end and RateSearch(0.5, trials).at_an_end
    assert not RateSearch(1.0, trials).at_an_end and not RateSearch(1.0, ()).at_an_end


@pytest.mark.parametrize(("expression", "goes_on"), [("mlm", True), ("causal -> mlm", False)])
def test_the_better_half_goes_on_with_twice_the_budget(
    expression: str,
    goes_on: bool,
    configured: Callable[..., CompareConfig],
    shards: Path,
    tmp_path: Path,
    in_this_process: None,
) -> None:
    """Two factors and one beyond with a tenth of the budget each, then two with a fifth; a schedule of objectives is
    another one under another budget, and begins anew."""
    config = configured(tmp_path, search={"factors": (1.0, 2.0), "at_most": 3})
    planned: dict[str, float] = {}
    found, workers = Shards.open(shards), Workers(1, lambda label, progress: None, planned.__setitem__)
    objective = build(expression, found.vocabulary)
    result = search(config, found, workers, expression, objective, {})
    short, long = ([one for one in result.trials if one.budget == share] for share in (0.1, 0.2))
    assert len(short) == 3 and len(long) == 2 and {one.candidate.rate for one in short} > {1.0, 2.0}
    assert all(bool(one.began) is goes_on for one in long) and not any(one.began for one in short)
    assert result.factor == min(long, key=lambda one: one.loss).candidate.rate
    cost = 0.2 - (0.7 * 0.1 if goes_on else 0.0)
    assert sorted(planned.values()) == pytest.approx([0.1, 0.1, 0.1, cost, cost])
    assert sum(one.flops for one in result.trials) == pytest.approx(
        sum(planned.values()) / 0.1 * short[0].flops, rel=0.3
    )
    again = search(config, found, Workers(1, lambda *_: None), expression, objective, {})
    assert again == result


def test_a_single_factor_is_taken_as_it_is(
    configured: Callable[..., CompareConfig], shards: Path, tmp_path: Path
) -> None:
    config, found = configured(tmp_path, search={"factors": (2.0,)}), Shards.open(shards)
    workers = Workers(1, lambda *_: None)
    assert search(config, found, workers, "mlm", build("mlm", found.vocabulary), {}) == RateSearch(2.0, ())
