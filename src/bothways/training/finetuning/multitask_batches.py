"""The batches of several tasks: rows of all of them, each example of the same weight, labels in part a teacher's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from bothways.batch import Batch, BatchSplitter, Sample
from bothways.tasks.packing import pack
from bothways.training.finetuning.batches import counted, example_weights, joined, share_of_process, tokens_in, weighted
from bothways.training.finetuning.multitask_setup import MultiTaskRun
from bothways.training.finetuning.setup import FinetuneRun
from bothways.training.finetuning.teachers import share_of_gold


def multitask_batches(run: MultiTaskRun) -> Callable[[int, float], list[Batch]]:
    """This process's micro-batches of a step: rows of several tasks; examples that a loss compares stay together, and
    so do those that a decoder writes."""
    mixing, parts = run.mixing, list(run.parts.values())
    device = run.model.table.device
    weights = [_evened(part) for part in parts]
    company = [
        number - len(parts) if part.task.compares(part.data.head) else int(has_decoder(part))
        for number, part in enumerate(parts)
    ]
    total = mixing.steps * run.config.epochs

    def of_step(step: int, progress: float) -> list[Batch]:
        drawn, share = mixing.of_step(step), share_of_gold(step, total)

        def taught(task: int, example: int, turn: int) -> list[Sample]:
            samples, weight = parts[task].drawn(turn, example, progress), float(weights[task][example])
            return _taught(run, parts[task], samples, example, weight, share)

        made: list[Batch] = []
        for who in sorted({company[task] for task, _, _ in drawn}):
            some = [one for one in drawn if company[one[0]] == who]
            groups = [some] if who < 0 else [[one] for one in some]
            sizes = [sum(tokens_in(parts[task].parts, [example]) for task, example, _ in group) for group in groups]
            mine = [[taught(*one) for one in group] for group in share_of_process(groups, sizes, run.team)]
            sizes = [sum(len(one) for samples in group for one in samples) for group in mine]
            made += [_batch(some, together=who < 0) for some in joined(mine, sizes)]
        return counted(run, [one.to(device) for one in made])

    return of_step


def _taught(
    run: MultiTaskRun, part: FinetuneRun, samples: list[Sample], example: int, weight: float, share: float
) -> list[Sample]:
    """The samples of an example that weighs so much, its labels in part a teacher's; the loss of spans takes the
    weight from the labels."""
    head = part.data.head
    if head.name in run.teachers:
        samples = run.teachers[head.name].mixed(samples, example, share)
    samples = [weighted(sample, weight) for sample in samples]
    if head.head != "span":
        return samples
    return [
        replace(one, targets=tuple(replace(target, labels=target.labels * weight) for target in one.targets))
        for one in samples
    ]


def has_decoder(part: FinetuneRun) -> bool:
    """Whether a decoder writes for the task: its rows are stacked apart from those of one stack."""
    writes = part.data.head.writes
    return writes is not None and writes.apart


def _batch(examples: Sequence[Sequence[Sample]], *, together: bool) -> Batch:
    """Some examples, each with its samples, as a batch."""
    owner = np.repeat(np.arange(len(examples)), [len(one) for one in examples])
    batch = pack([sample for one in examples for sample in one], owner).batch
    return batch if together else replace(batch, splitter=BatchSplitter(examples, partial(_batch, together=False)))


def _evened(part: FinetuneRun) -> np.ndarray:
    """float64 [E]: what the targets of every example are multiplied by, so that an example of each task weighs 1 on
    average: a text of thirty tags would else count as much as thirty texts with a label."""
    weights = example_weights(part)
    own = [part.draw.weight(some) if part.draw else _weight(some) for some in part.parts]
    return np.asarray(weights * len(own) / float(np.dot(weights, own)))


def _weight(samples: Sequence[Sample]) -> float:
    targets = [target for sample in samples for target in sample.targets]
    return sum(float(np.sum(np.broadcast_to(target.weight, len(target.at)))) for target in targets)
