"""A search as a whole, with real runs of a few steps: it ends, goes on where it was stopped, and leaves a recipe."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

import bothways
from bothways.config import load_config, read, with_settings
from bothways.errors import DataError, DivergedError, MachineError, Stopped, UsageError
from bothways.training.pretraining import PretrainConfig
from bothways.training.pretraining.dry_run import DryRunEstimate
from bothways.training.search import SearchConfig, run, search, time_plan
from bothways.training.search.candidates import SearchCandidate
from bothways.training.search.halving import Trial
from bothways.training.search.plan import WorstCase
from bothways.training.search.recipe import recipe_file
from bothways.training.search.trials import Trials, reused
from bothways.training.workers import Workers

Make = Callable[..., SearchConfig]


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of a second or two, whatever the machine; how the hours are dealt out is tested below."""
    monkeypatch.setattr(run, "plan_time", lambda *_: time_plan.TimePlan(unit=0.3, around=0.0, warmup=2))
    monkeypatch.setattr(time_plan.Hours, "longest", lambda hours, candidates: 2.0)


def test_the_best_is_a_model_and_a_recipe_that_pretrain_takes(configured: Make, brief: None, tmp_path: Path) -> None:
    said: list[str] = []
    config = configured()
    result = search(config, say=said.append)
    trials = [(trial["label"], trial["seconds"]) for trial in result["trials"]]
    assert len(trials) == len(set(trials)) and [seconds for _, seconds in trials][-2:] == [2.0, 2.0]
    on = [trial for trial in result["trials"] if trial["began"]]
    assert on and all(trial["began"] < trial["steps"] for trial in on)
    assert result["hours"]["given"] == 2.0 > result["hours"]["taken"] > 0
    assert sum("nats" in line for line in said) == len(trials) and result["best"]["label"] in repr(result)
    assert bothways.load(result["best"]["folder"]).fill("a [MASK] b")
    recipe = load_config(Path(result["recipe"]))
    found = read(PretrainConfig, {**recipe, "shards": config.shards, "out": tmp_path / "run"})
    assert found.objective == "mlm" and found.training.length == 32 and found.training.budget.seconds == 2.0
    tried = read(PretrainConfig, load_config(Path(result["best"]["folder"]) / "config.yaml")).training
    assert (found.training.optimiser, found.training.schedule) == (tried.optimiser, tried.schedule)
    assert found.model == config.model and result["best"]["settings"] == recipe
    command = next(line for line in Path(result["recipe"]).read_text().splitlines() if "bothways search" in line)
    _, _, place, *words = shlex.split(command)
    given = dict(zip(words[::2], words[1::2], strict=True))
    sets = [text for option, text in zip(words[::2], words[1::2], strict=True) if option == "--set"]
    options = {name: given[f"--{name}"] for name in ("objective", "hours")}
    assert read(SearchConfig, with_settings({"shards": place, "out": config.out, **options}, sets)) == config


def test_stopped_it_goes_on_with_the_same_trials(
    configured: Make, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, train = configured(), Workers.train

    def stop(workers: Workers, run: Any, label: str) -> Any:
        if len(begun := [*config.out.glob("trials/*")]) > 1:
            raise Stopped(f"{len(begun)} runs", exit_code=143)
        return train(workers, run, label)

    monkeypatch.setattr(Workers, "train", stop)
    with pytest.raises(Stopped):
        search(config)
    monkeypatch.setattr(Workers, "train", train)
    first = run._prepared(config, Workers(1, lambda label, progress: None), lambda: 0.0)[0].kept
    assert len(first) == 1
    result = search(config)
    kept = run._prepared(config, Workers(1, lambda label, progress: None), lambda: 0.0)[0].kept
    assert kept[0] == first[0] and len(kept) == len(result["trials"])
    assert search(config)["trials"] == result["trials"]  # at its end nothing is left to do
    with pytest.raises(UsageError, match=r"holds a search with hours 2\.0, now it is 3\.0"):
        search(configured(hours=3.0))


def test_the_hours_end_it(configured: Make, brief: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that a trial takes half an hour of: of two hours there is room for three, and the best is known."""
    now = [0.0]

    def tried(trials: Trials, candidate: Any, budget: float) -> Trial:
        if (found := trials.found(candidate, budget)) is not None:
            return found
        now[0] += 1800.0
        trial = Trial(candidate, budget, 3.0 + candidate.rate, 10, 0, 1.0, budget, budget)
        trials.kept.append(trial)
        return trial

    monkeypatch.setattr(Trials, "__call__", tried)
    said: list[str] = []
    result = search(configured(), say=said.append, clock=lambda: now[0])
    assert len(result["trials"]) == 3 and result["hours"]["taken"] <= 2.0
    assert result["best"]["label"] == "rate x 0.25" and "the hours are over before" in said[-1]


def test_a_trial_that_was_stopped_is_ended_though_the_whole_of_it_would_not_fit() -> None:
    """Of an hour, 50 minutes are over: the 45 of a trial, of which 40 are done, fit into what is left."""
    now = iter([0.0, 330.0])
    trial = Trial(SearchCandidate(), 2700.0, math.inf, 9, 0, 1.0, seconds=2700.0, took=2700.0)
    trials = Mock(return_value=trial, notes={"spent": 3000.0})
    trials.cost.return_value, trials.begun.return_value, trials.named.return_value = 2700.0, 2400.0, "default"
    said: list[str] = []
    hours = time_plan.Hours(
        1.0, trials, time_plan.TimePlan(unit=1.0, around=10.0, warmup=1), 0.0, lambda: next(now), said.append
    )
    assert hours(SearchCandidate(), 2700.0) is trial
    assert hours.around == 30.0  # of 330 seconds, 300 were training
    assert said == ["default: diverged, 9 steps; 92% of the hours"]
    trials.begun.return_value = 0.0
    with pytest.raises(time_plan.OutOfTimeError, match="default"):
        hours(SearchCandidate(), 2700.0)


def test_hours_are_dealt_out_so_that_the_worst_case_fits(configured: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a second a step and thirty around a rehearsal's steps."""
    now = iter([0.0, 34.0] * 9)
    told = DryRunEstimate(1, 1, steps=1, tokens=1, epochs=1, seconds=1.0, memory=1, useful_share=None)
    monkeypatch.setattr(time_plan, "estimate_run", lambda *_, **__: told)
    config = configured(hours=2.0, space=())
    found = time_plan.plan_time(config, None, True, lambda: next(now))
    worst = WorstCase.of(config.stages(), config.default(), lambda one: reused(config.run(one, 1.0, warmup=1).training))
    longest = 34.0 + worst.units * found.unit + worst.runs * found.around
    assert found.around == 90.0 and longest == pytest.approx(time_plan.SAFE * 7200.0)
    assert 1 <= found.warmup <= time_plan.WARMUP * found.unit  # steps of a second
    assert time_plan.plan_time(configured(hours=8.0, space=()), None, True, lambda: next(now)).unit > 4 * found.unit
    assert time_plan.plan_time(configured(hours=2.0, space=()), None, False, lambda: next(now)).unit < found.unit
    with pytest.raises(UsageError, match=r"0\.1 hours are too few: .* Give --hours (\S+), a smaller") as refused:
        time_plan.plan_time(configured(hours=0.1, space=()), None, True, lambda: next(now))
    least = float(str(refused.value).partition("Give --hours ")[2].partition(",")[0])
    assert (
        time_plan.plan_time(configured(hours=least, space=()), None, True, lambda: next(now)).unit
        >= time_plan.LEAST_STEPS
    )


def test_hours_are_rounded_up() -> None:
    assert [time_plan.rounded_up(hours) for hours in (0.1234, 2.0, 9.91, 17.2)] == pytest.approx(
        [0.13, 2.0, 10.0, 18.0]
    )


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"hours": 1e-6}, UsageError, "hours are too few: .* Give --hours"),
        (
            {"training": dict.fromkeys(("length", "step_tokens", "micro_tokens"), 100_000)},
            DataError,
            "expected at least one row of 100000 tokens",
        ),
        ({"training": {"step_tokens": 100, "length": 32}, "space": [{"training.step_tokens": [64, 96]}]}, None, ""),
        ({"space": [{"training.step_tokens": [16, 128]}]}, UsageError, "step_tokens must be a multiple"),
        ({"space": [{"training.optimiser.name": ["sgd", "muon"]}]}, UsageError, "training.optimiser.name"),
        ({"processes": 3}, UsageError, "step_tokens must be a multiple"),
        ({"processes": 3, "space": ()}, UsageError, "step_tokens must be a multiple"),
        ({"space": [{"rate": [1.0]}]}, UsageError, "nothing is to be chosen"),
        ({"space": [{"rate": [0.5, 1.0]}, {"model.feed_forward.gated": [True, False]}]}, Exception, "gated"),
        ({"objective": "mlmm"}, UsageError, "mlmm"),
        ({"objective": "tlm"}, DataError, "pairs"),
        ({"start": "nowhere"}, Exception, "nowhere"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    changes: dict[str, Any], error: type[Exception] | None, said: str, configured: Make
) -> None:
    config = configured(**changes)
    if error is None:
        return config.check()
    with pytest.raises(error, match=said):
        search(config)
    assert not config.out.exists()
    return None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": [{"training.length": [64, 128]}]}, "held-out losses of two values of training.length"),
        ({"space": [{"training.budget.steps": [64]}]}, "given by the search"),
        ({"space": [{"objective": ["mlm", "causal"]}]}, "expected rate, or settings of training or model"),
        ({"space": [{"rate": [0]}]}, "factors above 0"),
        ({"space": [{"rate": ["fast"]}]}, "factors above 0"),
        ({"space": [{"training.step_tokens": []}]}, "expects a list of values, got none"),
        ({"training": {"budget": "2h"}}, "training.budget is given by the search, whose hours are --hours"),
        ({"hours": 0}, "hours"),
        ({"hours": float("nan")}, "hours"),
        ({"hours": float("inf")}, "hours"),
    ],
)
def test_settings_that_cannot_be_searched_are_refused(changes: dict[str, Any], said: str, configured: Make) -> None:
    with pytest.raises(UsageError, match=said):
        configured(**changes)


def test_a_value_that_the_size_has_already_is_the_default(configured: Make) -> None:
    config = configured(model={}, size="tiny", space=[{"model.layers": [3, 4]}])
    assert config.default() == {"model.layers": 4}
    assert SearchCandidate().changed({"model.layers": 4}, config.default()) == SearchCandidate()
    betas = "training.optimiser.betas"
    other = configured(space=[{betas: [[0.9, 0.98], [0.9, 0.999]]}])
    assert SearchCandidate().changed({betas: other.default()[betas]}, other.default()) == SearchCandidate()
    assert isinstance(other.default()[betas], list)


def test_what_is_given_for_all_runs_is_not_searched_for(configured: Make) -> None:
    def names(**training: Any) -> set[str]:
        return {name for stage in configured(space=(), training={"length": 32, **training}).stages() for name in stage}

    assert names() == {"training.optimiser.name", "rate", "training.step_tokens", "training.schedule.decay"}
    assert names(optimiser={"name": "lamb"}, schedule={"decay": 0.5}) == {"rate", "training.step_tokens"}
    assert names(optimiser={"weight_decay": 0.1}, schedule={"floor": 0.1}) == names()
    assert "training.optimiser.name" not in names(optimiser={"learning_rate": 0.1})
    given = configured(space=(), training={"length": 32, "schedule": {"warmup_steps": 300}})
    assert given.run(SearchCandidate(), 1.0, warmup=7).training.schedule.warmup_steps == 300
    assert configured(training={"length": 32}).run(SearchCandidate(), 1.0, warmup=7).training.schedule.warmup_steps == 7
    assert names(step_tokens=128) == {"training.optimiser.name", "rate", "training.schedule.decay"}


def test_if_every_trial_diverges_it_is_said(configured: Make, brief: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bothways.training.search.trials.held_out_loss", lambda *_: float("inf"))
    with pytest.raises(DivergedError, match="every trial diverged"):
        search(configured())


def test_where_a_trial_fails_what_was_found_is_a_recipe(
    configured: Make, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where one is killed for its memory."""
    config, train = configured(), Workers.train

    def fail(workers: Workers, run: Any, label: str) -> Any:
        if len([*config.out.glob("trials/*")]) > 1:
            raise MachineError("killed, exit code -9")
        return train(workers, run, label)

    monkeypatch.setattr(Workers, "train", fail)
    said: list[str] = []
    with pytest.raises(MachineError, match="exit code -9"):
        search(config, say=said.append)
    assert "what is best so far" in said[-1] and load_config(config.out / "recipe.py")["objective"] == "mlm"


def test_several_processes_stand_in_the_recipe_and_in_what_is_timed(configured: Make) -> None:
    """48 rows a step, 32 at once: one process alone could not split them so."""
    training = {"length": 32, "step_tokens": 1536, "micro_tokens": 1024}
    config = configured(processes=2, training=training, hours=100.0)
    config.check()
    assert time_plan.plan_time(config, "cpu", True, iter(range(9)).__next__).unit > 0
    best = Trial(SearchCandidate(), 60.0, 3.0, 10, 0, 1.0, 60.0, 60.0)
    text = recipe_file(config, best, config.run(SearchCandidate(), 60.0, warmup=1), others=1)
    assert "--config THIS_FILE --out RUN --processes 2" in text
    assert "--processes" not in recipe_file(configured(), best, config.run(SearchCandidate(), 60.0, warmup=1), others=1)


def test_a_deeper_candidate_is_given_the_time_that_it_takes(configured: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve layers in place of one: its shortest trial has sixty steps all the same."""
    told = DryRunEstimate(1, 1, steps=1, tokens=1, epochs=1, seconds=1.0, memory=1, useful_share=None)
    monkeypatch.setattr(time_plan, "estimate_run", lambda *_, **__: told)
    spaces = [{"model.layers": [1, 12]}, {"training.optimiser.clip": [1.0, 2.0]}]
    deep, plain = (
        time_plan.plan_time(configured(hours=100.0, space=[one]), "cpu", True, iter(range(9)).__next__)
        for one in spaces
    )
    assert deep.unit == plain.unit
    assert deep.warmup == pytest.approx(plain.warmup / 12, abs=1)  # a share of fewer, longer steps
