"""How fast this machine trains a shape: a few real steps on random tokens, timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bothways.batch import Row, Vocabulary
from bothways.machine import dtype_of, gemm_peak, precision_for
from bothways.model import Model, ModelConfig, preset
from bothways.objectives import Objective, build
from bothways.planning.advice import speed_by_width
from bothways.training.config import Budget, TrainingConfig
from bothways.training.loop import LoopInputs, loss_names, train
from bothways.training.optimiser import build_optimisers, rated
from bothways.training.pretraining.batches import TrainingBatches
from bothways.training.pretraining.config import step_tokens_for
from bothways.training.pretraining.requirements import check_sides
from bothways.training.pretraining.setup import losses_of
from bothways.training.state import State
from bothways.training.weights import Replicated, by_kind

SECONDS = 20.0
DOCUMENT = 400  # tokens, about what a page of prose has
ROWS = 64  # that FLOPs are averaged over
ROLES = 5  # tokens that are no text
LARGE = 2e7  # weights of the blocks
LONG = 10**9  # steps: it is stopped by the clock


@dataclass(frozen=True, slots=True)
class Pace:
    """What was measured.

    step_seconds  of one step, the median
    step_tokens   of one step
    flops         a token, counted as `ModelConfig.flops_per_token` does
    peak          floating-point operations a second of a matrix product
    precision     "bf16" or "fp32"
    """

    step_seconds: float
    step_tokens: int
    flops: float
    peak: float
    precision: str

    @property
    def tokens_a_second(self) -> float:
        """At which it trains."""
        return self.step_tokens / self.step_seconds

    @property
    def utilisation(self) -> float:
        """The share of the peak that its useful FLOPs reach."""
        return self.tokens_a_second * self.flops / self.peak


@dataclass(frozen=True, slots=True)
class RandomRows:
    """Rows of random tokens in words of three and documents of one length: as much work as rows of text."""

    vocabulary: Vocabulary
    length: int

    def key(self, index: int) -> tuple[int, int, int]:
        """What its random numbers are made of."""
        return 0, 0, index

    def __getitem__(self, index: int) -> Row:
        place = np.arange(self.length) + index * self.length
        tokens = np.random.default_rng((0, index)).integers(ROLES, self.vocabulary.size, self.length, dtype=np.int32)
        tokens[place % DOCUMENT == 0] = self.vocabulary.cls
        document = (place // DOCUMENT - place[0] // DOCUMENT).astype(np.int32)
        return Row(tokens, document, (place % 3 == 0) | (tokens == self.vocabulary.cls))


def work_of(shape: ModelConfig, objective: str, *, length: int) -> float:
    """FLOPs of training on one token of text, as `Objective.cost` counts them, over a few rows.

    Raises:
        UsageError: an objective that needs more than text, or another shape.
    """
    _, built = _asked(shape, objective)
    found = start = 0.0
    for end, phase in built.stages:
        found += (end - start) * _work_of_phase(shape, phase, length)
        start = end
    return found


def _work_of_phase(shape: ModelConfig, phase: Objective, length: int) -> float:
    rows = RandomRows(_vocabulary(shape), length)
    samples = (phase.sample(rows[i], np.random.default_rng(i), 0.5) for i in range(ROWS))
    return sum(phase.cost(shape, sample) for sample in samples) / (ROWS * length)


def pace(shape: ModelConfig, training: TrainingConfig, *, objective: str = "hybrid", seconds: float = SECONDS) -> Pace:
    """Trains on random tokens for about so long, in one process with the threads that torch has.

    Raises:
        UsageError: an objective that needs more than text, or another shape, or a step that cannot be dealt out.
    """
    training.check_split(1)
    vocabulary, built = _asked(shape, objective)
    model = Model(shape, heads=built.heads, parts=built.parts, rule=built.rule)
    precision = precision_for(training.precision)
    dtype = dtype_of(precision)
    weights = Replicated(model, dtype)
    optimiser = rated(training.optimiser, width=shape.width)
    state = State(weights, build_optimisers(optimiser, by_kind(weights, model), dtype=dtype))
    rows: Any = RandomRows(vocabulary, training.length)
    batches = TrainingBatches(rows, built, training)
    work = LoopInputs(
        weights.around(losses_of(built, model)),
        lambda step, progress: batches(step * training.rows, progress),
        loss_names(model, built.shares),
    )
    taken: list[float] = []
    began = time.perf_counter()
    for _ in train(work, state=state, config=training, total=LONG):
        taken.append(time.perf_counter() - began - sum(taken))
        if sum(taken) > seconds and (len(taken) > 1 or taken[0] > seconds):
            break
    return Pace(
        step_seconds=statistics.median(taken[1:] or taken),
        step_tokens=training.places,
        flops=_work_of_phase(shape, built.stages[0][1], training.length),  # all that the trial has come to
        peak=gemm_peak(precision, seconds=0.5),
        precision=precision,
    )


def _asked(shape: ModelConfig, objective: str) -> tuple[Vocabulary, Objective]:
    """The tokens of a shape, and the objective over them."""
    vocabulary = _vocabulary(shape)
    built = build(objective, vocabulary)
    check_sides(built, shape)
    return vocabulary, built


def _vocabulary(shape: ModelConfig) -> Vocabulary:
    return Vocabulary(size=shape.vocabulary, pad=0, unk=1, cls=2, sep=3, mask=4)


def training_for(shape: ModelConfig, *, size: str, length: int) -> TrainingConfig:
    """The steps that a run of this size takes; of large models smaller ones, that a trial may end."""
    tokens = (
        step_tokens_for(size) if shape.body_parameters < LARGE else TrainingConfig.model_fields["micro_tokens"].default
    )
    return TrainingConfig(budget=Budget(steps=1), length=length, step_tokens=max(tokens, length))


def speed_here(objective: str, *, vocabulary: int, length: int) -> Callable[[ModelConfig], float]:
    """Tokens a second at which this machine trains any shape, from a trial of two."""
    measured = {}
    for size in ("tiny", "mini"):
        shape = preset(size, vocabulary=vocabulary, length=length)
        found = pace(shape, training_for(shape, size=size, length=length), objective=objective, seconds=SECONDS / 2)
        measured[shape.width] = found.tokens_a_second * found.flops
    return speed_by_width(measured, lambda shape: work_of(shape, objective, length=length))
