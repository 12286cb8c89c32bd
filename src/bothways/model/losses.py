"""The plain loss, shared by every objective that does not bring its own."""

from __future__ import annotations

from torch import Tensor

from bothways.batch import Batch, Losses
from bothways.model.model import Model


def plain_loss(model: Model, batch: Batch) -> Losses:
    """What each head loses at the batch's targets, computed only where something is predicted.

    Returns {name of the target: (weighted sum, in nats where it is a cross-entropy, sum of the weights)}.

    Raises:
        UsageError: a target names a head that the model does not have.
    """
    losses: Losses = {}
    for target, hidden in zip(batch.targets, model.hidden_at(batch), strict=True):
        add(losses, target.name, *model.head(target.head).loss_at(hidden, target))
    return losses


def add(losses: Losses, name: str, loss: Tensor, count: Tensor) -> None:
    """Adds a sum and its count to what the losses hold under that name."""
    if name in losses:
        loss, count = losses[name][0] + loss, losses[name][1] + count
    losses[name] = (loss, count)
