"""The plain loss, shared by every objective that does not bring its own.

Letters: B rows, T tokens, D width, N targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bothways.batch import Batch, Losses
from bothways.errors import UsageError
from bothways.model.model import Model


def plain_loss(model: Model, batch: Batch) -> Losses:
    """Cross-entropy at the batch's targets, each head computed only where something is predicted.

    Returns {name of the target: (weighted sum in nats, sum of the weights)}, and losses of the blocks' own.

    Raises:
        UsageError: a target names a head that the model does not have.
    """
    places = [torch.as_tensor(target.at) for target in batch.targets]
    extra: dict[str, Tensor] = {}
    hidden = model.states_at(batch, torch.cat(places), extra).split([len(at) for at in places])
    losses: Losses = {}
    for target, at in zip(batch.targets, hidden, strict=True):
        assert isinstance(target.labels, Tensor) and isinstance(target.weight, Tensor)
        if target.head == "words":
            loss = model.words.loss(at, model.table, target.labels, target.weight)
        elif target.head in model.heads:
            head: Any = model.heads[target.head]
            loss = head.loss(at, target.labels, target.weight)
        else:
            raise UsageError(
                f"a target asks for the head {target.head!r}; the model has words, {', '.join(model.heads)}"
            )
        add(losses, target.name, loss, target.weight.sum())
    return with_extra(losses, extra)


def with_extra(losses: Losses, extra: Mapping[str, Tensor]) -> Losses:
    """With losses of the blocks' own, each a mean: it counts as much as the targets do together."""
    if not extra:
        return losses
    count = torch.stack([count for _, count in losses.values()]).sum()
    return losses | {name: (mean * count, count) for name, mean in extra.items()}


def add(losses: Losses, name: str, loss: Tensor, count: Tensor) -> None:
    """Adds a sum and its count to what the losses hold under that name."""
    if name in losses:
        loss, count = losses[name][0] + loss, losses[name][1] + count
    losses[name] = (loss, count)
