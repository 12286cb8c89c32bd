"""The micro-batches of a step of fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bothways.batch import Batch, Sample
from bothways.model import ModelConfig
from bothways.model.abilities import WORDS
from bothways.tasks.packing import pack

if TYPE_CHECKING:
    from bothways.training.finetuning.run import FinetuneRun

TOKENS_AT_ONCE = 4096


def batches_of(run: FinetuneRun) -> Callable[[int, float], list[Batch]]:
    """The micro-batches of a step: examples in an order of the epoch's own, several in a row; the FLOPs of reading
    them, forward and backward, are added up in the run's notes."""
    weights, shape, notes = example_weights(run), run.model.config, run.state.notes
    device = run.model.table.device

    def of_step(step: int, progress: float) -> list[Batch]:
        epoch, place = divmod(step, run.steps)
        order = np.random.default_rng([run.config.seed, epoch]).permutation(len(run.parts))
        chosen = order[place * run.config.batch : (place + 1) * run.config.batch]
        parts = {i: run.drawn(epoch, i, progress) for i in chosen.tolist()}
        made: list[list[int]] = []
        tokens, together = 0, run.task.compares(run.data.head)
        for i in chosen.tolist():
            size = sum(len(part) for part in parts[i])
            if not made or (tokens + size > TOKENS_AT_ONCE and not together):
                made.append([])
                tokens = 0
            made[-1].append(i)
            tokens += size
        batches = [_laid({i: parts[i] for i in some}, weights).to(device) for some in made]
        notes["flops"] = notes.get("flops", 0.0) + sum(flops_of(one, shape) for one in batches)
        return batches

    return of_step


def _laid(parts: Mapping[int, Sequence[Sample]], weights: np.ndarray) -> Batch:
    """Some training examples, by number, as a batch; a group of targets is one of its example."""
    owner = np.repeat([*parts], [len(some) for some in parts.values()])
    samples = [weighted(part, float(weights[i])) for i, some in parts.items() for part in some]
    return pack(samples, owner).batch


def flops_of(batch: Batch, shape: ModelConfig) -> float:
    """FLOPs of training on a batch, as `ModelConfig.flops_per_token` and `decoder_flops` count them."""
    words = sum(len(target.at) for target in batch.targets if target.head == WORDS)
    if batch.source is None:
        count = batch.token_count
        return count * shape.flops_per_token(length=batch.tokens.shape[1], predicted=words / count)
    rows, read = batch.source.tokens.shape
    encoder = (batch.token_count - int(batch.layout.real.sum())) * shape.flops_per_token(length=read, predicted=0.0)
    return encoder + rows * shape.decoder_flops(read=read, written=batch.tokens.shape[1], predicted=words / rows)


def weighted(sample: Sample, weight: float) -> Sample:
    """The same, whose targets weigh so many times as much."""
    targets = tuple(replace(target, weight=np.asarray(target.weight) * weight) for target in sample.targets)
    return replace(sample, targets=targets)


def example_weights(run: FinetuneRun) -> np.ndarray:
    """float64 [E]: 1, or for balanced classes what makes every class weigh the same."""
    golds = [example.gold for example in run.data.train]
    if run.config.class_weights == "equal":
        return np.ones(len(golds))
    labels, number, counts = np.unique(golds, return_inverse=True, return_counts=True)
    return np.asarray(len(golds) / (len(labels) * counts[number]))
