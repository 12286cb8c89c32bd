"""What a run computes: counted FLOPs, by phase.

The convention (docs/training.md): matrix products only, two FLOPs a weight forward and twice that backward; attention
over the whole row; the vocabulary head where a word is predicted. Scaffolding and a generator count, look-ups are free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bothways.corpus import Rows
from bothways.model import ModelConfig
from bothways.objectives import Objective
from bothways.training.pretraining.batches import TrainingBatches
from bothways.training.pretraining.replay import WithReplay

ROWS = 128  # that the count is averaged over


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOPs of the steps of a run.

    ends   the progress at which each phase of the run ends: what is taught changes there
    rates  FLOPs of a step in that phase
    """

    ends: tuple[float, ...]
    rates: tuple[float, ...]

    def at(self, progress: float) -> float:
        """Of a step in the phase of this progress."""
        return next((rate for end, rate in zip(self.ends, self.rates, strict=True) if progress < end), self.rates[-1])

    def upto(self, progress: float) -> float:
        """Mean over the run so far, times the progress."""
        starts = (0.0, *self.ends[:-1])
        spans = (max(0.0, min(progress, end) - start) for start, end in zip(starts, self.ends, strict=True))
        return sum(span * rate for span, rate in zip(spans, self.rates, strict=True))


def cost_of(batches: TrainingBatches, config: ModelConfig) -> Cost:
    """Counted over the first rows of the run, each phase in its middle."""
    training, objective = batches.config, batches.objective
    ends = tuple(end for end, _ in objective.stages)
    starts = (0.0, *ends[:-1])
    middles = [(start + end) / 2 for start, end in zip(starts, ends, strict=True)]
    rates = (training.places * _rate(objective, batches.rows, config, middle) for middle in middles)
    return Cost(ends, tuple(rates))


def _rate(objective: Objective, rows: Rows | WithReplay, config: ModelConfig, progress: float) -> float:
    """FLOPs of training on one token of text."""
    phase = next(phase for end, phase in objective.stages if progress < end)
    samples = (objective.sample(rows[i], np.random.default_rng(rows.key(i)), progress) for i in range(ROWS))
    return sum(phase.cost(config, sample) for sample in samples) / (ROWS * rows.length)
