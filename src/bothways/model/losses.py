"""The plain loss, shared by every objective that does not bring its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bothways.batch import Batch, Losses
from bothways.model.model import Model


def plain_loss(model: Model, batch: Batch) -> Losses:
    """What each head loses at the batch's targets, computed only where something is predicted.

    Returns {name of the target: (weighted sum, in nats where it is a cross-entropy, sum of the weights)}, and losses of
    the blocks' own.

    Raises:
        UsageError: a target names a head that the model does not have.
    """
    losses: Losses = {}
    extra: dict[str, Tensor] = {}
    for target, hidden in zip(batch.targets, model.hidden_at(batch, extra), strict=True):
        add(losses, target.name, *model.head(target.head).loss_at(hidden, target))
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
