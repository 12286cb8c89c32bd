"""From shards and an objective to batches: a pure function of seed and row, dealt out to processes.

Row g of the run is the same whatever the number of processes, and so is what is hidden of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bothways.batch import Batch, BatchSplitter, Row, Sample, Target
from bothways.corpus import Rows, Shards
from bothways.errors import DataError
from bothways.objectives import Objective, build
from bothways.training.config import TrainingConfig
from bothways.training.pretraining.replay import WithReplay


@dataclass(frozen=True, slots=True)
class TrainingBatches:
    """Called with (row, progress): this process's micro-batches of the step that begins with that row of the run."""

    rows: Rows | WithReplay
    objective: Objective
    config: TrainingConfig
    rank: int = 0
    processes: int = 1
    device: torch.device | str = "cpu"

    def __call__(self, first: int, progress: float) -> list[Batch]:
        """The micro-batches of a step for this process, on its device."""
        rows = self.config.rows
        size = min(self.config.micro_rows, rows // self.processes)  # which divide, as `check_split` has seen
        starts = range(first + self.rank * size, first + rows, self.processes * size)
        samples = [self._sample(index, progress) for start in starts for index in range(start, start + size)]
        samples.sort(key=lambda sample: len(sample.tokens))  # where scaffolding differs, least is padded
        parts = (samples[i : i + size] for i in range(0, len(samples), size))
        return [_stacked(part, progress).to(self.device) for part in parts]

    def _sample(self, index: int, progress: float) -> Sample:
        return self.objective.sample(self.rows[index], np.random.default_rng(self.rows.key(index)), progress)


def _stacked(samples: Sequence[Sample], progress: float) -> Batch:
    splitter = BatchSplitter(samples, partial(_stacked, progress=progress))
    return replace(_of_few_lengths(Batch.stack(samples)), splitter=splitter, progress=progress)


def _of_few_lengths(batch: Batch) -> Batch:
    """Repeats the last target, with weight 0, to a multiple of 32, or of a sixteenth if there are more than 512.

    For every length it meets, oneDNN makes three kernels and keeps them: a hundred steps would cost 40 MB.
    """

    def longer(target: Target) -> Target:
        count = len(target.at)
        missing = -count % (1 << max(5, count.bit_length() - 4))

        def repeated(column: Any) -> Tensor:
            values = torch.as_tensor(column)
            return torch.cat([values, values[-1:].expand(missing, *values.shape[1:])])

        weight = F.pad(torch.as_tensor(target.weight), (0, missing))
        return replace(target, at=repeated(target.at), labels=repeated(target.labels), weight=weight)

    targets = (target if target.group is not None else longer(target) for target in batch.targets)
    return replace(batch, targets=tuple(targets))


def validation_rows(shards: Shards, config: TrainingConfig) -> list[Row]:
    """The validation split's rows, evenly spread when there are more than wanted."""
    rows = Rows(shards.validation, shards.vocabulary, length=config.length, seed=None)
    if not len(rows):
        raise DataError(f"the validation split holds less than one row of {config.length} tokens. Prepare more text.")
    wanted = min(len(rows), config.validation_rows)
    return [rows[i * len(rows) // wanted] for i in range(wanted)]


def validation_batches(
    objective: Objective, rows: Sequence[Row], config: TrainingConfig, *, device: torch.device | str = "cpu"
) -> list[Batch]:
    """The same samples every time: the i-th row always has the same randomness, as at the end of the run."""
    samples = [objective.sample(row, np.random.default_rng((0, i)), 1.0) for i, row in enumerate(rows)]
    size = config.micro_rows
    return [Batch.stack(samples[i : i + size]).to(device) for i in range(0, len(samples), size)]


PROBES = {"decoder": ("next", "causal"), "encoder": ("fill", "mlm(replace=all-mask)")}
"""{face: (name of its probe, the objective whose targets it has)}."""


def probes(
    objective: Objective,
    shards: Shards,
    rows: Sequence[Row],
    config: TrainingConfig,
    *,
    device: torch.device | str = "cpu",
) -> dict[str, list[Batch]]:
    """{name: batches}: quick questions for the faces that the objective trains, the same for every model that has them.
    A pair is one text, as it is for the n-gram baselines.

    next  the next token, of every token of the text, left to right
    fill  hidden tokens (15 %, all shown as [MASK]), from both sides
    """
    rows = [row.as_text for row in rows]
    faces = [face for face in objective.abilities.faces if face != "encoder" or objective.abilities.hidden is not None]
    return {  # an encoder without a token for hidden words predicts no words
        name: validation_batches(build(expression, shards.vocabulary), rows, config, device=device)
        for name, expression in map(PROBES.__getitem__, faces)
    }
