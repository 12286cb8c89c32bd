"""The plain loss, shared by every objective that does not bring its own.

Letters: B rows, T tokens, D width, N targets.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bothways.batch import Batch, Losses
from bothways.errors import UsageError
from bothways.model.model import Model


def plain_loss(model: Model, batch: Batch) -> Losses:
    """Cross-entropy at the batch's targets, each head computed only where something is predicted.

    Returns {name of the target: (weighted sum in nats, sum of the weights)}.

    Raises:
        UsageError: a target names a head that the model does not have.
    """
    places = [torch.as_tensor(target.at) for target in batch.targets]
    hidden = model.states_at(batch, torch.cat(places)).split([len(at) for at in places])
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
    return losses


def add(losses: Losses, name: str, loss: Tensor, count: Tensor) -> None:
    """Adds a sum and its count to what the losses hold under that name."""
    if name in losses:
        loss, count = losses[name][0] + loss, losses[name][1] + count
    losses[name] = (loss, count)
