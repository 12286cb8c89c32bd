"""The settings of a comparison, and the runs that follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from bothways.config import Frozen, read
from bothways.errors import UsageError
from bothways.tasks import task_named
from bothways.tasks.reading import read_examples
from bothways.tasks.records import Skipped
from bothways.training.config import Budget
from bothways.training.pretraining import PretrainConfig
from bothways.training.search.candidates import SearchCandidate, folder_name, with_rate
from bothways.training.search.trials import SEED

SECONDS_ALONE = "runs at the same time take each other's seconds: count the budget in FLOPs, or leave out at_once"
UNEQUAL = "a comparison is at equal compute: --budget 5e13flops, or in seconds, 600s. With equal {} the compute differs"


class RatesConfig(Frozen):
    """How each objective's learning rate is found: runs of a share of the budget, by the loss on held-out text."""

    factors: tuple[float, ...] = Field(
        default=(0.5, 1.0, 2.0),
        min_length=1,
        description="Of the size's default; while the best is the smallest or the largest, the next one is tried too.",
    )
    share: float = Field(
        default=0.2, gt=0, le=1, description="Of the budget, for the better half; all begin with half of it."
    )
    at_most: int = Field(default=4, ge=1, description="Learning rates that are tried for an objective.")

    @field_validator("factors")
    @classmethod
    def _different(cls, factors: tuple[float, ...]) -> tuple[float, ...]:
        if min(factors) <= 0 or len(set(factors)) < len(factors):
            raise ValueError("expected different factors above 0, as in [0.5, 1, 2]")
        return factors


class TaskFiles(Frozen):
    """A task to fine-tune to, with defaults throughout, and its examples; the dev examples are cut from `train`."""

    task: str
    train: Path
    test: Path

    def check(self) -> None:
        """
        Raises:
            DataError: a file that cannot be read.
            UsageError: no such task, or one whose score is no mean over examples.
        """
        task = task_named(self.task)
        if not task.items_say or task.refers:
            raise UsageError(f"the score of {self.task} is no mean over examples, and cannot be compared item by item")
        for file in (self.train, self.test):
            read_examples(task, file, skip=Skipped())


class CompareConfig(Frozen):
    """What `bothways compare` does."""

    shards: Path = Field(description="A folder that prepare made.")
    out: Path = Field(description="The comparison's folder; there already: go on.")
    objectives: tuple[str, ...] = Field(
        min_length=1, description='Expressions with ";" between them: "causal; mlm; causal -> mlm".'
    )
    budget: Budget = Field(default=Budget(flops=5e12), description="Of every run: FLOPs as counted, or seconds.")
    seeds: int = Field(default=3, ge=1, lt=SEED, description="Runs of each; one seed is one order of the text.")
    size: str = Field(default="tiny", description="tiny, mini, small, base, or LAYERSxWIDTH: 6x192.")
    model: dict[str, Any] = Field(default={}, description="Fields of the model that differ from the size's.")
    code: tuple[Path, ...] = Field(default=(), description="A Python file with objectives of your own.")
    training: dict[str, Any] = Field(default={}, description="Other settings of every run: training.length=256.")
    search: RatesConfig = Field(
        default=RatesConfig(),
        description="Of the learning rate: search.factors=[0.5, 1, 2] of the default, search.share, search.at_most.",
    )
    at_once: int = Field(default=1, ge=1, description="Runs at the same time; on a CPU one a core is fastest.")
    pairs: tuple[Path, ...] = Field(default=(), description="Minimal pairs: records with good, bad, paradigm.")
    pairs_each: int = Field(default=100, ge=1, description="Pairs of a paradigm that are read at most.")
    probes: dict[str, tuple[Path, Path]] = Field(
        default={}, description="{name: (train, test)}: labelled files for linear probes."
    )
    tasks: dict[str, TaskFiles] = Field(default={}, description="{name: what every finished model is fine-tuned to}.")
    validation_rows: int = Field(
        default=1024, ge=2, description="Held-out rows that the finished models are measured on."
    )

    @field_validator("training")
    @classmethod
    def _is_free(cls, training: dict[str, Any]) -> dict[str, Any]:
        for name, own in (("budget", "--budget"), ("seed", "--seeds")):
            if name in training:
                raise ValueError(f"training.{name} is given by the comparison: set {own} instead")
        return training

    def check(self) -> None:
        """
        Raises:
            UsageError: the runs would not be at equal compute, an objective is named twice, or there is no such task.
            DataError: the files of a task cannot be read.
        """
        unequal = next((unit for unit in ("steps", "tokens") if getattr(self.budget, unit) is not None), None)
        if unequal:
            raise UsageError(UNEQUAL.format(unequal))
        if self.budget.seconds is not None and self.at_once > 1:
            raise UsageError(SECONDS_ALONE)
        for files in self.tasks.values():
            files.check()
        names = [folder_name(expression) for expression in self.objectives]
        for expression, name in zip(self.objectives, names, strict=True):
            if names.count(name) > 1:
                raise UsageError(f"the objective {expression!r} is named twice; name each once")

    def run(self, expression: str, seed: int, factor: float) -> PretrainConfig:
        """A run that counts: the whole budget, at the learning rate that the search found."""
        out = self.out / "runs" / folder_name(expression) / f"seed-{seed}"
        return with_rate(self._plain(expression, out, seed, 1.0), factor)

    def trial(self, expression: str, candidate: SearchCandidate, share: float) -> PretrainConfig:
        """A run of the search with a share of the budget; its warm-up is shorter too, alike in all of them."""
        found = with_rate(self._plain(expression, self.trials(expression), SEED, share), candidate.rate)
        schedule = found.training.schedule
        kept = {"keep_at": ()}  # models on the way are wanted of the runs that count
        shorter = schedule.model_copy(update={"warmup_steps": round(schedule.warmup_steps * self.search.share)})
        return found.model_copy(update={"training": found.training.model_copy(update={"schedule": shorter, **kept})})

    def trials(self, expression: str) -> Path:
        """The folder of an objective's search."""
        return self.out / "search" / folder_name(expression)

    def _plain(self, expression: str, out: Path, seed: int, share: float) -> PretrainConfig:
        budget = {unit: amount and amount * share for unit, amount in self.budget}
        same = {name: getattr(self, name) for name in ("shards", "size", "model", "code")}
        own = {"out": out, "objective": expression, "training": self.training | {"seed": seed, "budget": budget}}
        return read(PretrainConfig, same | own)
