"""One prediction a text: classes, a number, a score among the choices of a question.

Letters: B rows, T tokens, D width, N texts, C labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bothways.batch import Target
from bothways.model.config import ModelConfig
from bothways.model.heads.head import Head, Loss, loss_of
from bothways.model.heads.transform import Transform
from bothways.model.huggingface.families import head_shape

if TYPE_CHECKING:
    from bothways.model.abilities import TaskHead

Pool = Callable[[Tensor, Tensor], Tensor]
"""hidden [B*T, D], the first and last token of each text [N, 2] -> a state a text [N, D]."""


def first(hidden: Tensor, at: Tensor) -> Tensor:
    """The states at the beginnings."""
    return hidden.index_select(0, at[:, 0])


def last(hidden: Tensor, at: Tensor) -> Tensor:
    """The states at the ends."""
    return hidden.index_select(0, at[:, 1])


def mean(hidden: Tensor, at: Tensor) -> Tensor:
    """The means of all states of each text; no two texts share a token."""
    owner = _owner(len(hidden), at)
    # In float32: a sum of hundreds of states has more digits than bf16.
    sums = hidden.new_zeros(len(at) + 1, hidden.shape[1], dtype=torch.float32).index_add(0, owner, hidden.float())
    counts = torch.bincount(owner, minlength=len(at) + 1)
    return (sums[:-1] / counts[:-1, None]).to(hidden.dtype)


def _owner(count: int, at: Tensor) -> Tensor:
    """[B*T] the number of the text that each token belongs to; N where it belongs to none."""
    ends = torch.zeros(count + 1, dtype=torch.int64, device=at.device)
    begun, ended = (ends.index_add(0, side, torch.ones_like(side)).cumsum(0)[:-1] for side in (at[:, 0], at[:, 1] + 1))
    order = at[:, 0].argsort()  # rows are filled in any order
    return torch.where(begun > ended, order[(begun - 1).clamp(0)], len(at))


_POOLS: dict[str, Pool] = {"first": first, "mean": mean, "last": last}


class TextHead(nn.Module, Head):
    """One prediction a text: from its first state, the mean of all, or its last, as transformers' class has it.

    A target's `at` is [N, 2], the first and the last token of each text. `smoothing` is that of the labels while it is
    trained.
    """

    def __init__(self, config: ModelConfig, head: TaskHead) -> None:
        super().__init__()
        shape = head_shape(config, head)
        self._pool = _POOLS[shape.pool]
        self.kind, self.smoothing = head.kind, 0.0
        self.transform = Transform(config, activation=shape.activation, norm=shape.norm) if shape.activation else None
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.width, len(head.labels), bias=shape.bias)

    def places(self, at: Tensor) -> Tensor | None:
        """The first place of each text [N] where only it is read; None: all states."""
        return at[:, 0] if self._pool is first else None

    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """[N, C]."""
        at = torch.as_tensor(target.at)
        pooled = hidden if self._pool is first else self._pool(hidden, at)
        if self.transform is not None:
            pooled = self.transform(pooled)
        logits: Tensor = self.out(self.dropout(pooled))
        return logits

    def loss(self, logits: Tensor, target: Target) -> Loss:
        """Sum over the texts, and their count."""
        return loss_of(self.kind, logits, target, smoothing=self.smoothing)
