"""The search for a learning rate: it finds the least loss, goes on at an end, and stops."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bothways.evaluation.comparison import CompareConfig
from bothways.evaluation.comparison.search import RateSearch, Trial, _widened, held_out_loss, search
from bothways.objectives import build
from bothways.training.pretraining import PretrainConfig
from bothways.training.run_folder import RunFolder
from tests.objectives.rows import VOCABULARY


def test_an_end_is_known_as_one() -> None:
    trials = tuple(Trial(factor, 1.0, 1.0, 1.0) for factor in (0.5, 1.0, 2.0))
    assert RateSearch(2.0, trials).at_an_end and RateSearch(0.5, trials).at_an_end
    assert not RateSearch(1.0, trials).at_an_end and not RateSearch(1.0, ()).at_an_end


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


def test_every_trial_is_planned_before_it_is_trained(
    configured: Callable[..., CompareConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, object]] = []
    folder = SimpleNamespace(checkpoints=tmp_path / "none", last=lambda: {"flops": 1.0, "seconds": 1.0})

    def train(config: PretrainConfig, label: str) -> Any:
        told.append((label, "trained"))
        return folder

    workers: Any = SimpleNamespace(plan=lambda label, size: told.append((label, size)), train=train)
    monkeypatch.setattr(
        "bothways.evaluation.comparison.search.held_out_loss", lambda *args: -len(told)
    )  # the last is the best
    config = configured(tmp_path, search={"factors": (1.0, 2.0), "at_most": 3})
    search(config, workers, "mlm", build("mlm", VOCABULARY))
    share = config.search.share
    assert told == [(f"mlm, rate x {x}", what) for x in (1, 2, 4) for what in (share, "trained")]


@pytest.mark.parametrize(
    ("expression", "losses", "judged"),
    [
        ("mlm", {"mlm": 5.0}, 4.0),
        ("electra", {"generator": 5.0, "discriminator": 0.3}, 0.3),
        ("1/2 mlm + 1/2 causal", {"mlm": 5.0, "causal": 4.0}, 4.0),
    ],
)
def test_an_objective_is_judged_by_the_model_not_by_what_taught_it(
    expression: str, losses: dict[str, float], judged: float, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    folder.note(status="done")
    line = {"kind": "validation", "step": 1, "loss": 4.0, "losses": losses}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    objective = build(expression, VOCABULARY)
    assert held_out_loss(folder, objective) == pytest.approx(judged)
    folder.note(status="diverged")
    assert held_out_loss(folder, objective) == math.inf
