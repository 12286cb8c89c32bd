"""Candidates as runs: what a run goes on from, what cannot go on, what is kept, and by which loss they are judged."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bothways.config import read
from bothways.corpus import Rows, Shards
from bothways.errors import ModelError, UsageError
from bothways.objectives import build
from bothways.training.config import Budget, ScheduleConfig, TrainingConfig
from bothways.training.run_folder import RunFolder
from bothways.training.schedule import decay_start
from bothways.training.search import SearchConfig
from bothways.training.search.candidates import SearchCandidate
from bothways.training.search.trials import Trials, held_out_loss, reused, steady
from bothways.training.workers import Workers
from tests.objectives.rows import VOCABULARY

Make = Callable[..., SearchConfig]


@pytest.fixture
def trials(configured: Make, tmp_path: Path) -> Callable[..., Trials]:
    """Trials whose budgets are steps, so that every machine does the same."""

    def make(*, same: bool = True, **schedule: object) -> Trials:
        config = configured(training={**configured().training, "schedule": {"warmup_steps": 2, **schedule}})

        def run(candidate: SearchCandidate, steps: float):  # type: ignore[no-untyped-def]
            found = config.run(candidate, 1.0, warmup=2)
            return found.model_copy(
                update={"training": found.training.model_copy(update={"budget": Budget(steps=int(steps))})}
            )

        objective = build("mlm", Shards.open(config.shards).vocabulary)
        workers = Workers(1, lambda label, progress: None)
        return Trials(tmp_path / "search.json", workers, objective, run, lambda one, steps: one.label, steady=same)

    return make


def test_a_trial_goes_on_from_before_its_rate_fell(trials: Callable[..., Trials]) -> None:
    tried = trials()
    short, long = tried(SearchCandidate(), 10), tried(SearchCandidate(), 20)
    assert (short.began, short.steps) == (0, 10)
    assert (long.began, long.steps) == (decay_start(ScheduleConfig(warmup_steps=2), 10), 20) == (7, 20)
    lines = RunFolder(tried.folder(SearchCandidate(), 20)).lines()
    assert [line["step"] for line in lines if line["kind"] == "train"] == [*range(1, 21)]
    assert long.flops == pytest.approx(13 / 10 * short.flops)  # of the steps since then
    assert tried.cost(SearchCandidate(), 40) == pytest.approx(40 - 0.7 * 20) and tried.cost(SearchCandidate(), 20) == 0


def test_what_a_stopped_trial_has_behind_it_is_known(trials: Callable[..., Trials]) -> None:
    tried, plain = trials(), SearchCandidate()
    assert tried.begun(plain, 10) == 0.0
    tried(plain, 10)
    assert tried.begun(plain, 20) == 0.0  # the run is there, but not begun again
    tried(plain, 20)
    tried.kept.pop()  # as if it had been stopped after its last step
    folder = RunFolder(tried.folder(plain, 20))
    took = folder.last("train", step=20)["seconds"] - folder.last("train", step=7)["seconds"]
    assert tried.begun(plain, 20) == pytest.approx(took) and took > 0


def test_a_run_whose_time_is_over_is_not_trained_further(trials: Callable[..., Trials]) -> None:
    """The machine became slower: of twice the budget it has taken all already, and keeps its loss."""
    tried = trials()
    found = tried(SearchCandidate(), 10)
    tried.kept[:] = [replace(found, took=20.0)]
    assert tried.cost(SearchCandidate(), 20) == 0.0
    later = tried(SearchCandidate(), 20)
    assert (later.loss, later.steps, later.began, later.seconds) == (found.loss, 10, 10, 0.0)
    assert tried.cost(SearchCandidate(), 40) > 0.0


def test_what_was_tried_is_not_tried_again_after_a_kill(trials: Callable[..., Trials]) -> None:
    first = trials()
    short, long = first(SearchCandidate(), 5), first(SearchCandidate(), 10)
    before = (first.folder(SearchCandidate(), 10) / "metrics.jsonl").stat().st_mtime_ns
    again = trials()
    assert (again(SearchCandidate(), 5), again(SearchCandidate(), 10)) == (
        short,
        long,
    )  # though the run itself is longer by now
    assert (first.folder(SearchCandidate(), 10) / "metrics.jsonl").stat().st_mtime_ns == before
    assert again(SearchCandidate(), 20).began == long.steps - 3


def test_a_trial_that_was_dropped_begins_anew(trials: Callable[..., Trials]) -> None:
    tried = trials()
    tried.drop(tried(SearchCandidate(), 5))
    assert not RunFolder(tried.folder(SearchCandidate(), 5)).checkpoints.exists()
    assert trials().cost(SearchCandidate(), 10) == 10
    found = tried(SearchCandidate(), 10)
    assert (found.began, found.steps) == (0, 10) and tried(SearchCandidate(), 20).began == 7


def test_going_past_a_dropped_trial_again_keeps_what_came_later(trials: Callable[..., Trials]) -> None:
    """A search that goes on drops what it had dropped before; the candidate may have been tried anew since."""
    tried, plain = trials(), SearchCandidate()
    short = tried(plain, 5)
    tried.drop(short)
    tried.workers.train(tried.configured(plain, 10).model_copy(update={"out": tried.folder(plain, 10)}), "stopped")
    saved = RunFolder(tried.folder(plain, 10)).checkpoints
    trials().drop(short)  # the longer one was begun, and is not noted yet
    assert [*saved.iterdir()]
    tried(plain, 10)
    again = trials()
    again.drop(short)
    assert [*saved.iterdir()] and again.cost(plain, 20) < 20  # it goes on
    again.drop(short)  # in a later stage, though it has a longer one
    assert not saved.exists() and again.cost(plain, 20) == 20


def test_a_trial_that_was_killed_has_behind_it_what_its_checkpoint_has(trials: Callable[..., Trials]) -> None:
    tried, plain = trials(), SearchCandidate()
    tried(plain, 10)
    tried.kept.clear()
    folder = RunFolder(tried.folder(plain, 10))
    assert tried.begun(plain, 10) > 0
    for saved in folder.checkpoints.iterdir():
        if saved.name != "step-7":
            shutil.rmtree(saved)
    assert tried.begun(plain, 10) == pytest.approx(folder.last("train", step=7)["seconds"], abs=2e-3)
    shutil.rmtree(folder.checkpoints)
    assert tried.begun(plain, 10) == 0.0


@pytest.mark.parametrize("schedule", [{"shape": "cosine"}, {"shape": "linear"}])
def test_a_schedule_made_for_one_length_begins_anew_each_time(
    trials: Callable[..., Trials], schedule: dict[str, object]
) -> None:
    tried = trials(**schedule)
    tried(SearchCandidate(), 5)
    assert tried.cost(SearchCandidate(), 10) == 10 and tried(SearchCandidate(), 10).began == 0
    assert tried.folder(SearchCandidate(), 5) != tried.folder(SearchCandidate(), 10)
    assert reused(read(TrainingConfig, {"schedule": schedule})) == 0


@pytest.mark.parametrize(("training", "share"), [({}, 0.7), ({"schedule": {"decay": 0.4}}, 0.6)])
def test_what_of_a_run_a_longer_one_goes_on_from(training: dict[str, object], share: float) -> None:
    assert reused(read(TrainingConfig, training)) == pytest.approx(share)


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        *(("mlm", True), ("hybrid", True), ("causal -> mlm", False), ("mlm(rate=0.3->0.15)", False)),
        *(("electra(temperature=2->1)", False), ("electra -> electra(temperature=2)", False), ("gpt-bert", False)),
    ],
)
def test_an_objective_that_changes_with_progress_is_known(expression: str, same: bool, shards: Path) -> None:
    found = Shards.open(shards)
    rows = Rows(found.train, found.vocabulary, length=32, seed=0)
    assert steady(build(expression, found.vocabulary), rows, expression) is same


def test_a_damaged_record_is_named(trials: Callable[..., Trials], tmp_path: Path) -> None:
    (tmp_path / "search.json").write_text('{"trials": [1]}')
    with pytest.raises(ModelError, match=r"search\.json is no record of a search"):
        trials()


def test_a_run_is_prolonged_but_not_shortened_or_changed(trials: Callable[..., Trials]) -> None:
    tried = trials()
    tried(SearchCandidate(), 10)
    run = tried.configured(SearchCandidate(), 5).model_copy(update={"out": tried.folder(SearchCandidate(), 10)})
    for other in (run, run.model_copy(update={"objective": "causal"})):
        with pytest.raises(UsageError, match="holds a run with other settings"):
            tried.workers.train(other, "it")


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
