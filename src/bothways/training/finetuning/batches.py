"""The micro-batches of a step of fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bothways.batch import Batch, BatchSplitter, Sample
from bothways.model import ModelConfig
from bothways.model.abilities import WORDS
from bothways.tasks.packing import pack
from bothways.training.processes import Processes

if TYPE_CHECKING:
    from bothways.training.finetuning.multitask_setup import MultiTaskRun
    from bothways.training.finetuning.setup import FinetuneRun

TOKENS_AT_ONCE = 4096
T = TypeVar("T")


def batches_of(run: FinetuneRun) -> Callable[[int, float], list[Batch]]:
    """This process's micro-batches of a step: its examples, several in a row."""
    weights = example_weights(run)
    device, together = run.model.table.device, run.task.compares(run.data.head)

    def of_step(step: int, progress: float) -> list[Batch]:
        chosen = run.examples_of(step)
        groups = [chosen] if together else [[i] for i in chosen]
        mine = share_of_process(groups, [tokens_in(run.parts, some) for some in groups], run.team)
        parts = {i: run.drawn(step // run.steps, i, progress) for some in mine for i in some}
        made = joined(mine, [tokens_in(parts, some) for some in mine])
        return counted(
            run, [_laid([(i, parts[i]) for i in some], weights, together=together).to(device) for some in made]
        )

    return of_step


def counted(run: FinetuneRun | MultiTaskRun, batches: list[Batch]) -> list[Batch]:
    """The same; the FLOPs of reading them, forward and backward, are added up over all processes in the run's notes."""
    spent = run.team.total(sum(flops_of(one, run.model.config) for one in batches))
    run.state.notes["flops"] = run.state.notes.get("flops", 0.0) + spent
    return batches


def tokens_in(parts: Mapping[int, Sequence[Sample]] | Sequence[Sequence[Sample]], examples: Sequence[int]) -> int:
    """Of the samples of some examples."""
    return sum(len(part) for i in examples for part in parts[i])


def share_of_process(groups: Sequence[T], tokens: Sequence[int], team: Processes) -> list[T]:
    """Those of a step's groups of examples that this process reads, in their order: the longest is dealt first, each to
    the process that has the fewest tokens so far."""
    loads, owner = [0] * team.count, [0] * len(groups)
    for number in sorted(range(len(groups)), key=lambda number: -tokens[number]):
        owner[number] = loads.index(min(loads))
        loads[owner[number]] += tokens[number]
    return [group for group, rank in zip(groups, owner, strict=True) if rank == team.rank]


def joined(groups: Sequence[Sequence[T]], tokens: Sequence[int]) -> list[list[T]]:
    """Groups of examples, one after the other, as micro-batches of TOKENS_AT_ONCE; none is parted."""
    made: list[list[T]] = []
    held = 0
    for group, count in zip(groups, tokens, strict=True):
        if not made or held + count > TOKENS_AT_ONCE:
            made.append([])
            held = 0
        made[-1] += group
        held += count
    return made


def _laid(parts: Sequence[tuple[int, Sequence[Sample]]], weights: np.ndarray, *, together: bool) -> Batch:
    """Some training examples, with their numbers, as a batch; a group of targets is one of its example."""
    owner = np.repeat([i for i, _ in parts], [len(some) for _, some in parts])
    samples = [weighted(part, float(weights[i])) for i, some in parts for part in some]
    batch = pack(samples, owner).batch
    return (
        batch
        if together
        else replace(batch, splitter=BatchSplitter(parts, partial(_laid, weights=weights, together=False)))
    )


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
