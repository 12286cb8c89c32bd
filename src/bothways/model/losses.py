"""The plain loss, shared by every objective that does not bring its own.

Letters: B rows, T tokens, D width, N targets.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from bothways.batch import Batch, Losses
from bothways.errors import UsageError
from bothways.model.model import Model
from bothways.visibility import Visibility, ordered


def plain_loss(model: Model, batch: Batch, *, rule: Visibility = ordered) -> Losses:
    """Cross-entropy at the batch's targets, each head computed only where something is predicted.

    Returns {name of the target: (weighted sum in nats, sum of the weights)}.

    Raises:
        UsageError: a target names a head that the model does not have.
    """
    hidden = model.states(batch, rule=rule).flatten(0, 1)  # [B*T, D]
    losses: Losses = {}
    for target in batch.targets:
        assert isinstance(target.at, Tensor) and isinstance(target.labels, Tensor) and isinstance(target.weight, Tensor)
        at = hidden.index_select(0, target.at)  # [N, D]
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
