"""The loss on dev examples: what training minimises, on texts that it does not learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from bothways.batch import Batch, Losses, Sample
from bothways.tasks.packing import pack
from bothways.tasks.reading import encoded
from bothways.tasks.records import Skipped
from bothways.tasks.task import Example
from bothways.training.evaluate import evaluate_losses
from bothways.training.finetuning.tuned import Tuned

MOST = 1000  # examples, evenly spread: more would slow every epoch, and hardly change the mean


def with_answers(tuned: Tuned, examples: Sequence[Example]) -> list[list[Sample]]:
    """The samples of at most MOST examples with their right answers; those that cannot be taught are left out."""
    some = examples[:: -(-len(examples) // MOST)] if examples else []
    tokenizer, skip = tuned.engine.tokenizer, Skipped()
    found = encoded(tuned.task, some, tokenizer, tuned.head, length=tuned.length, skip=skip, taught=True)
    return [parts for _, parts in found]


def dev_loss(
    losses: Callable[[Batch], Losses], parts: Sequence[Sequence[Sample]], *, at_once: int, device: torch.device
) -> float | None:
    """The mean over all of their targets, `at_once` examples in a batch as in training; None where there are none."""

    def own(batch: Batch) -> Losses:
        """Those of the targets: what blocks add is no loss of an answer."""
        names = {target.name for target in batch.targets}
        return {name: found for name, found in losses(batch).items() if name in names}

    batches = []
    for start in range(0, len(parts), at_once):
        some = parts[start : start + at_once]
        owner = np.repeat(np.arange(len(some)), [len(one) for one in some])
        batches.append(pack([sample for one in some for sample in one], owner).batch.to(device))
    return evaluate_losses(own, batches)[0] if batches else None
