"""Budgets: how many steps they make, and what a larger one does to a run that is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bothways.errors import UsageError
from bothways.training.pretraining import pretrain, run
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.pretraining.flops import Cost
from bothways.training.pretraining.pace import mean_pace
from bothways.training.pretraining.run import save
from bothways.training.run_folder import RunFolder
from bothways.training.state import checkpoints
from tests.training.pretraining.small import (
    assert_same_weights,
    clocked,
    configuration,
    lines,
    run_until,
    train_lines,
)

pytestmark = pytest.mark.usefixtures("quick")


def steps_of(out: Path) -> int:
    return sum(line["kind"] == "train" for line in lines(out))


def test_tokens_and_flops_are_rounded_up_to_steps(shards: Path, tmp_path: Path) -> None:
    tokens = configuration(shards, tmp_path / "tokens", "training.budget.tokens=1025")
    pretrain(tokens)
    assert steps_of(tokens.out) == 5
    flops = lines(tokens.out)[-1]["flops"]
    assert flops > 0
    wanted = configuration(shards, tmp_path / "flops", f"training.budget.flops={flops * 0.79}")
    pretrain(wanted)
    assert steps_of(wanted.out) == 4


def test_a_pace_counts_what_later_phases_cost() -> None:
    """An update of the weights, two optimisers' 0.05 s, stays; the rest costs twice as much on average."""
    cost = Cost(ends=(0.5, 1.0), rates=(1.0, 3.0))
    assert mean_pace([0.25] * 3, [0.05] * 6, cost) == pytest.approx(0.1 + 2 * 0.15)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes a twentieth of a second."""
    clocked(monkeypatch, lambda step: 0.05)


def test_seconds_become_steps_that_are_kept(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ticking: None
) -> None:
    """Stopped after the measured steps: the number is written down, and resuming does not measure again."""
    monkeypatch.setattr("bothways.training.pretraining.run.MEASURED_STEPS", 3)
    config = configuration(shards, tmp_path / "run", "training.budget.seconds=2")
    run_until(config, 4)
    assert RunFolder(config.out).manifest()["steps"] == 40
    pretrain(config, resume=True)
    assert steps_of(config.out) == RunFolder(config.out).manifest()["steps"] == 40
    assert lines(config.out)[-2]["progress"] == 1.0


def test_seconds_stopped_while_they_are_measured(shards: Path, tmp_path: Path, ticking: None) -> None:
    """Again and again: the time before the stops counts, so that there are as many steps as without them."""
    config = configuration(shards, tmp_path / "run", "training.budget.seconds=2")
    for step in (2, 3):
        run_until(config, step, resume=step > 2)
    pretrain(config, resume=True)
    whole = pretrain(config.model_copy(update={"out": tmp_path / "whole"}))
    assert steps_of(config.out) == RunFolder(config.out).manifest()["steps"] == steps_of(whole)


@pytest.mark.parametrize("pace", [0.08, 0.03])
def test_seconds_are_kept_where_the_machine_changes_its_speed(
    pace: float, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first steps take 0.05 s: at that pace a budget of 4 s would end after 6.2 s, or after 2.6 s."""
    monkeypatch.setattr("bothways.training.pretraining.run.MEASURED_STEPS", 3)
    clocked(monkeypatch, lambda step: 0.05 if step <= 8 else pace)
    settings = ["training.budget.seconds=4", "training.validate_every=0.1", "training.schedule.decay=0.3"]
    config = configuration(shards, tmp_path / "run", *settings)
    pretrain(config)
    done = [line for line in RunFolder(config.out).lines() if line["kind"] == "train"]
    assert done[-1]["seconds"] == pytest.approx(4, rel=0.05)
    assert done[-1]["step"] == done[-1]["steps"] == RunFolder(config.out).manifest()["steps"]
    rates = [line["learning_rate"] for line in done]
    falling = rates.count(max(rates)) + 2  # two steps of warm-up
    assert len(rates) - falling == pytest.approx(0.3 * len(rates), abs=1)
    assert rates[falling - 1 :] == sorted(rates[falling - 1 :], reverse=True)


def test_a_run_that_is_stopped_knows_the_number_of_its_last_validation(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the checkpoint: the same run to the end, though the machine is fast again."""
    monkeypatch.setattr("bothways.training.pretraining.run.MEASURED_STEPS", 3)
    settings = ["training.budget.seconds=4", "training.validate_every=0.5", "training.schedule.decay=0.3"]
    config = configuration(shards, tmp_path / "run", *settings)
    clocked(monkeypatch, lambda step: 0.05 if step <= 8 else 0.08)
    run_until(config, 45)
    total = RunFolder(config.out).manifest()["steps"]
    assert total == 64  # the decay stays as long as it was planned
    clocked(monkeypatch, lambda step: 0.03)
    pretrain(config, resume=True)
    clocked(monkeypatch, lambda step: 0.05 if step <= 8 else 0.08)
    whole = pretrain(config.model_copy(update={"out": tmp_path / "whole"}))
    assert steps_of(config.out) == steps_of(whole) == total
    assert_same_weights(config.out, whole)


def test_validations_take_a_fifth_of_a_budget_in_seconds(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One takes 0.2 s of 4 s: at most four in place of the ten that were asked for, and the rest is for steps."""
    monkeypatch.setattr("bothways.training.pretraining.run.MEASURED_STEPS", 3)
    clock = clocked(monkeypatch, lambda step: 0.05)
    evaluate = run.evaluate_words

    def slow(*args: Any) -> Any:
        clock.now += 0.1
        return evaluate(*args)

    monkeypatch.setattr(run, "evaluate_words", slow)
    config = configuration(
        shards, tmp_path / "run", "training.budget.seconds=4", "training.validate_every=0.1", objective="mlm"
    )
    pretrain(config)
    looks = [line["step"] for line in lines(config.out) if line["kind"] == "validation"]
    assert looks[0] == 0 and 2 <= len(looks) - 1 <= 4
    assert steps_of(config.out) * 0.05 + (len(looks) - 1) * 0.2 == pytest.approx(4, rel=0.06)


def test_a_slow_run_is_saved_within_minutes(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes four minutes: a kill costs at most three of them, though `save_every` is five hundred."""
    clocked(monkeypatch, lambda step: 240.0)
    saved: list[int] = []
    monkeypatch.setattr(run, "save", lambda one: (saved.append(one.state.step), save(one)))
    pretrain(configuration(shards, tmp_path / "run", "training.save_every=500", "training.validate_every=1"))
    assert saved == [3, 6, 8, 11, 12]  # of 12, the rate falls from the eighth on


@pytest.mark.parametrize("stopped", [None, 3, 7])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_wsd_with_a_larger_budget_is_the_larger_run(
    stopped: int | None, precision: str, shards: Path, tmp_path: Path
) -> None:
    """Done with 8 steps (the rate fell from step 6 on), or stopped before or after that; then prolonged to 12.

    Only the objectives whose corruption follows the run's progress (gpt-bert's rate) feel the difference.
    """
    settings = [f"training.precision={precision}", "training.validate_every=0.5"]
    whole = configuration(shards, tmp_path / "whole", *settings)
    pretrain(whole)
    short = configuration(shards, tmp_path / "short", *settings, "training.budget.steps=8")
    if stopped is None:
        pretrain(short)
    else:
        run_until(short, stopped)
    longer = whole.model_copy(update={"out": short.out})
    pretrain(longer, resume=True)
    assert_same_weights(short.out, whole.out)
    assert train_lines(short.out) == train_lines(whole.out)
    assert RunFolder(short.out).config(PretrainConfig).training.budget.steps == 12
    pretrain(longer, resume=True)
    assert_same_weights(short.out, whole.out)


def test_a_longer_run_that_is_stopped_goes_on_as_the_longer_run(shards: Path, tmp_path: Path) -> None:
    """Checkpoints of the shorter run that lie ahead are forgotten with its lines."""
    whole = configuration(shards, tmp_path / "whole", "training.budget.steps=16")
    pretrain(whole)
    config = configuration(shards, tmp_path / "run")
    pretrain(config)
    longer = whole.model_copy(update={"out": config.out})
    run_until(longer, 10, resume=True)
    assert checkpoints(config.out / "checkpoints")[-1].name == "step-10"
    pretrain(longer, resume=True)
    assert_same_weights(config.out, whole.out)
    assert train_lines(config.out) == train_lines(whole.out)


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_other_schedules_go_on_from_the_end(shape: str, shards: Path, tmp_path: Path) -> None:
    """Nothing done is lost, and from there on the rate is that of the larger budget."""
    settings = [f"training.schedule.shape={shape}", "training.optimiser.learning_rate=1"]
    whole = configuration(shards, tmp_path / "whole", *settings, "training.budget.steps=16")
    config = configuration(shards, tmp_path / "run", *settings)
    pretrain(whole)
    pretrain(config)
    before = train_lines(config.out)
    pretrain(whole.model_copy(update={"out": config.out}), resume=True)
    found = train_lines(config.out)
    assert found[:12] == before
    assert [line["learning_rate"] for line in found[12:]] == [
        line["learning_rate"] for line in train_lines(whole.out)[12:]
    ]


def test_a_smaller_budget_is_refused(shards: Path, tmp_path: Path) -> None:
    config = configuration(shards, tmp_path / "run")
    pretrain(config)
    before = lines(config.out)
    with pytest.raises(UsageError, match="has done 12 steps already; the budget is 11"):
        pretrain(configuration(shards, config.out, "training.budget.steps=11"), resume=True)
    assert lines(config.out) == before


def test_more_seconds_prolong_at_the_pace_so_far(shards: Path, tmp_path: Path, ticking: None) -> None:
    config = configuration(shards, tmp_path / "run")
    pretrain(config)
    took = RunFolder(config.out).lines()[-1]["seconds"]
    pretrain(configuration(shards, config.out, f"training.budget.seconds={took * 1.5:.3f}"), resume=True)
    assert steps_of(config.out) == 18
