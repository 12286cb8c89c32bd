"""Candidates as runs: each is trained to a budget, and goes on from there when it gets a larger one."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from bothways.corpus import Rows
from bothways.errors import ModelError
from bothways.objectives import Objective
from bothways.seals import unsealed, write_sealed
from bothways.training.config import Budget, TrainingConfig
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.run_folder import RunFolder
from bothways.training.schedule import decay_start
from bothways.training.search.candidates import SearchCandidate
from bothways.training.search.halving import Trial
from bothways.training.state import checkpoints, read_record
from bothways.training.workers import Workers

SEED = 1000  # of the trials: text in an order that no run that counts reads
LONG = 1_000_000  # steps: a share of so many is the share of any run
ROWS = 64  # in which it is seen whether an objective changes with the progress of a run
PROGRESS = (0.0, 0.3, 0.6, 0.9)


@dataclass(slots=True)
class Trials:
    """What was tried and is kept in a file, so that the same search goes on where it was stopped.

    place       the file; the runs are in trials/ beside it
    configured  (candidate, budget) -> its run, whatever its `out`
    named       (candidate, budget) -> what it is called where people read
    steady      whether the objective is the same at any progress, so that a run can go on under a larger budget
    baselines   of n-grams, the same for every run
    gone        labels of candidates whose checkpoints were deleted
    dropped     how often any were: a search that goes on comes past the same ones again
    """

    place: Path
    workers: Workers
    objective: Objective
    configured: Callable[[SearchCandidate, float], PretrainConfig]
    named: Callable[[SearchCandidate, float], str]
    steady: bool = True
    baselines: Mapping[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(init=False, default_factory=dict)
    kept: list[Trial] = field(init=False, default_factory=list)
    gone: set[str] = field(init=False, default_factory=set)
    dropped: int = field(init=False, default=0)
    _passed: int = field(init=False, default=0)
    _reused: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.place.exists():
            self.notes = unsealed(self.place)
            self.kept, self.gone, self.dropped = _read(self.notes, self.place)

    def __call__(self, candidate: SearchCandidate, budget: float) -> Trial:
        """The trial, trained if it was not yet.

        Raises:
            BothwaysError: what its run could not do.
        """
        if (found := self.found(candidate, budget)) is not None:
            self.workers.plan(self.named(candidate, budget), 0.0)
            return found
        before, config = self.before(candidate, budget), self.configured(candidate, budget)
        if before is not None and before.over(budget):
            return self._keep(replace(before, budget=budget, began=before.steps, flops=0.0, seconds=0.0))
        folder = RunFolder(self.folder(candidate, budget))
        prime(folder, self.baselines)
        name = self.named(candidate, budget)
        self.workers.plan(name, self.cost(candidate, budget))
        self.workers.train(config.model_copy(update={"out": folder.path}), name)
        began, start = self._start(folder, config, before)
        last = folder.last()
        taken = {name: last[name] - start[name] for name in ("flops", "seconds")}
        loss = held_out_loss(folder, self.objective)
        took = budget * _share(config.training.budget, last)
        return self._keep(Trial(candidate, budget, loss, last["step"], began, **taken, took=took))

    @staticmethod
    def _start(folder: RunFolder, config: PretrainConfig, before: Trial | None) -> tuple[int, Mapping[str, Any]]:
        """The step at which a run goes on, and its line there."""
        began = decay_start(config.training.schedule, before.steps) if before else 0
        return began, folder.last("train", step=began) if began else {"flops": 0.0, "seconds": 0.0}

    def begun(self, candidate: SearchCandidate, budget: float) -> float:
        """Seconds of training that a trial which was stopped on its way has behind it."""
        folder, config = RunFolder(self.folder(candidate, budget)), self.configured(candidate, budget)
        if not (folder.path / "config.yaml").exists():
            return 0.0
        if folder.config(PretrainConfig).training.budget != config.training.budget:
            return 0.0  # what lies there is the shorter trial that it goes on from
        saved = checkpoints(folder.checkpoints)[-1:]  # a run that was killed goes on from there
        done = max((float(read_record(one)["notes"]["seconds"]) for one in saved), default=0.0)
        return max(0.0, done - float(self._start(folder, config, self.before(candidate, budget))[1]["seconds"]))

    def _keep(self, trial: Trial) -> Trial:
        self.kept.append(trial)
        self.gone.discard(trial.candidate.label)
        self.note()
        return trial

    @property
    def finite(self) -> list[Trial]:
        """Those that did not diverge."""
        return [trial for trial in self.kept if math.isfinite(trial.loss)]

    def folder(self, candidate: SearchCandidate, budget: float) -> Path:
        """Of its run: the same for all budgets where a run can go on."""
        own = candidate.folder if self.reused(candidate) else f"{candidate.folder}-{budget:g}"
        return self.place.parent / "trials" / own

    def found(self, candidate: SearchCandidate, budget: float) -> Trial | None:
        """The trial, where it was done."""
        fitting = (one for one in self.kept if (one.candidate.label, one.budget) == (candidate.label, budget))
        return next(fitting, None)

    def before(self, candidate: SearchCandidate, budget: float) -> Trial | None:
        """The one that a trial goes on from."""
        if candidate.label in self.gone or not self.reused(candidate):
            return None
        shorter = [one for one in self.kept if one.candidate.label == candidate.label and one.budget < budget]
        return max(shorter, key=lambda one: one.budget, default=None)

    def reused(self, candidate: SearchCandidate) -> float:
        """The share of a run that one with a larger budget goes on from; 0: it would be another run."""
        if candidate.label not in self._reused:
            training = self.configured(candidate, 1.0).training
            self._reused[candidate.label] = reused(training) if self.steady else 0.0
        return self._reused[candidate.label]

    def cost(self, candidate: SearchCandidate, budget: float) -> float:
        """What is trained for a trial, in the unit of budgets: less where it goes on."""
        if self.found(candidate, budget) is not None:
            return 0.0
        before = self.before(candidate, budget)
        if before is None:
            return budget
        return 0.0 if before.over(budget) else budget - before.budget * self.reused(candidate)

    def drop(self, trial: Trial) -> None:
        """The checkpoints of a trial that goes no further are deleted: its loss is all that is wanted of it.

        Once: when a search that goes on comes past it again, the candidate may have come back for a longer one.
        """
        candidate = trial.candidate
        self._passed += 1
        if self._passed <= self.dropped:
            return
        for folder in (self.place.parent / "trials").glob(f"{candidate.folder}*"):
            shutil.rmtree(RunFolder(folder).checkpoints, ignore_errors=True)
        self.gone.add(candidate.label)
        self.dropped = self._passed
        self.note()

    def note(self, **changes: Any) -> None:
        """Writes down what was found, and what else is to be known when the search goes on."""
        labels = {"gone": sorted(self.gone), "dropped": self.dropped}
        self.notes |= {**changes, "trials": [_plain(trial) for trial in self.kept], **labels}
        write_sealed(self.place, self.notes)


def _share(budget: Budget, last: Mapping[str, Any]) -> float:
    """Of its budget, what a run took by its last line; a budget in steps or tokens is kept to."""
    unit = next(unit for unit, amount in budget if amount is not None)
    return float(last[unit] / getattr(budget, unit)) if unit in ("flops", "seconds") else 1.0


def _plain(trial: Trial) -> dict[str, Any]:
    return {**asdict(trial), "loss": trial.loss if math.isfinite(trial.loss) else None}


def _read(notes: Mapping[str, Any], place: Path) -> tuple[list[Trial], set[str], int]:
    try:
        plain = [{**one, "loss": math.inf if one["loss"] is None else one["loss"]} for one in notes["trials"]]
        return TypeAdapter(list[Trial]).validate_python(plain), set(notes["gone"]), int(notes.get("dropped", 0))
    except (KeyError, TypeError, ValidationError):
        raise ModelError(f"{place} is no record of a search. Delete it, or begin again with another --out.") from None


def reused(training: TrainingConfig) -> float:
    """The share of a run before its learning rate falls; 0 of one that is made for a length: cosine, linear."""
    return decay_start(training.schedule, LONG) / LONG if training.schedule.shape == "wsd" else 0.0


def steady(objective: Objective, rows: Rows, expression: str) -> bool:
    """Whether an objective, and what it is written as, is the same at any progress of a run: no "causal -> mlm", no
    rate or temperature that falls, and none that changes by itself (`gpt-bert`)."""

    def drawn(index: int, progress: float) -> list[Any]:
        sample = objective.sample(rows[index], np.random.default_rng(rows.key(index)), progress)
        return [sample.tokens.tolist(), *((target.name, target.at.tolist()) for target in sample.targets)]

    return "->" not in expression and all(
        drawn(i, PROGRESS[0]) == drawn(i, later) for i in range(ROWS) for later in PROGRESS[1:]
    )


def prime(folder: RunFolder, baselines: Mapping[str, Any]) -> None:
    """The baselines are the same for every run: counted once."""
    if baselines and not folder.manifest():
        folder.note(baselines=dict(baselines))


def held_out_loss(folder: RunFolder, objective: Objective) -> float:
    """The last held-out loss of a run, as the run itself weighs it; inf if it diverged.

    The losses of an objective's `parts` do not count: ELECTRA's generator learns fastest at a rate that keeps the
    discriminator, which is the model, from learning at all.
    """
    if folder.manifest().get("status") != "done":
        return math.inf
    line = folder.last("validation")
    kept = [loss for name, loss in line["losses"].items() if name not in objective.parts]
    if len(kept) == len(line["losses"]):
        kept = [line["loss"]]
    return math.inf if None in kept else math.fsum(kept) / len(kept)
