"""The batches of several tasks: rows of all of them, each example of the same weight, labels in part a teacher's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bothways.batch import Batch, Sample
from bothways.tasks.packing import pack
from bothways.training.finetuning.batches import dealt, example_weights, joined, tokens_in, weighted
from bothways.training.finetuning.run import FinetuneRun
from bothways.training.finetuning.several_setup import SeveralRun
from bothways.training.finetuning.teachers import share_of_gold


def batches_of_several(run: SeveralRun) -> Callable[[int, float], list[Batch]]:
    """This process's micro-batches of a step: rows of several tasks; examples that a loss compares stay together."""
    mixing, parts, shape, notes = run.mixing, list(run.parts.values()), run.model.config, run.state.notes
    device = run.model.table.device
    weights = [_evened(part) for part in parts]
    together = [part.task.compares(part.data.head) for part in parts]
    total = mixing.steps * run.config.epochs

    def tokens(pairs: Sequence[tuple[int, int]]) -> int:
        return sum(tokens_in(parts[task].parts, [example]) for task, example in pairs)

    def of_step(step: int, progress: float) -> list[Batch]:
        pairs = mixing.of_step(step)
        run.present.clear()
        run.present.update(parts[task].data.head.name for task, _ in pairs)
        compared = [[pair for pair in pairs if pair[0] == i] for i in np.flatnonzero(together)]
        groups = [some for some in compared if some] + [[pair] for pair in pairs if not together[pair[0]]]
        mine = dealt(groups, [*map(tokens, groups)], run.team)
        share = share_of_gold(step, total)
        made = joined(mine, [*map(tokens, mine)])
        laid = [[_taught(run, parts[t], i, float(weights[t][i]), share) for t, i in some] for some in made]
        batches = [_batch(some).to(device) for some in laid]
        flops = [one.token_count * shape.flops_per_token(length=one.tokens.shape[1], predicted=0.0) for one in batches]
        notes["flops"] = notes.get("flops", 0.0) + run.team.total(sum(flops))
        return batches

    return of_step


def _taught(run: SeveralRun, part: FinetuneRun, example: int, weight: float, share: float) -> list[Sample]:
    """The samples of an example that weighs so much, its labels in part a teacher's; the loss of spans takes the
    weight from the labels."""
    head, samples = part.data.head, part.parts[example]
    if head.name in run.teachers:
        samples = run.teachers[head.name].mixed(samples, example, share)
    samples = [weighted(sample, weight) for sample in samples]
    if head.head != "span":
        return samples
    return [
        replace(one, targets=tuple(replace(target, labels=target.labels * weight) for target in one.targets))
        for one in samples
    ]


def _batch(examples: Sequence[Sequence[Sample]]) -> Batch:
    """Some examples, each with its samples, as a batch."""
    owner = np.repeat(np.arange(len(examples)), [len(one) for one in examples])
    return pack([sample for one in examples for sample in one], owner).batch


def _evened(part: FinetuneRun) -> np.ndarray:
    """float64 [E]: what the targets of every example are multiplied by, so that an example of each task weighs 1 on
    average: a text of thirty tags would else count as much as thirty texts with a label."""
    weights = example_weights(part)
    own = [
        sum(float(np.sum(np.broadcast_to(target.weight, len(target.at)))) for one in some for target in one.targets)
        for some in part.parts
    ]
    return np.asarray(weights * len(own) / float(np.dot(weights, own)))
