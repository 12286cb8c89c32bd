"""What a head is: states in, logits out, and a loss of these; and the losses that several heads share.

Letters: B rows, T tokens, D width, N targets, M states that a head reads, C labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bothways.batch import Target

Loss = tuple[Tensor, Tensor]
"""(weighted sum, what it is to be divided by)"""


class Head(ABC):
    """One contract for all heads; a model finds them by name, and a batch may hold targets of several."""

    def places(self, at: Tensor) -> Tensor | None:
        """Which states it reads for targets at `at`, places of the flattened batch, [M]; None: those of all tokens."""
        return at

    @abstractmethod
    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """[N, ...] from the states at its `places`, [M, D]; where it reads all, from [B*T, D] and `target.at`."""

    @abstractmethod
    def loss(self, logits: Tensor, target: Target) -> Loss:
        """Labels are [N] integers, or [N, C] shares of each label (soft labels)."""

    def loss_at(self, hidden: Tensor, target: Target) -> Loss:
        """The loss straight from the states: a head that need not keep its logits has a cheaper way."""
        return self.loss(self.logits(hidden, target), target)


def columns(target: Target) -> tuple[Tensor, Tensor]:
    """Labels and weights of a target in a batch."""
    assert isinstance(target.labels, Tensor) and isinstance(target.weight, Tensor)
    return target.labels, target.weight


def cross_entropy(logits: Tensor, target: Target, *, smoothing: float = 0.0) -> Loss:
    """Of one label among C: logits [N, C], labels [N], or [N, C] where they are soft."""
    labels, weight = columns(target)
    each = F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)
    return (each * weight).sum(), weight.sum()


def binary_cross_entropy(logits: Tensor, target: Target) -> Loss:
    """Of yes or no: logits and labels [N]; or the mean over C labels, any of which may be right: [N, C]."""
    labels, weight = columns(target)
    logits, labels = logits.float(), labels.float()
    if logits.dim() == 1:
        return F.binary_cross_entropy_with_logits(logits, labels, weight=weight, reduction="sum"), weight.sum()
    each = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(-1)
    return (each * weight).sum(), weight.sum()


def squared_error(logits: Tensor, target: Target) -> Loss:
    """Of numbers: logits and labels [N, 1]."""
    labels, weight = columns(target)
    return (((logits.float() - labels) ** 2).mean(-1) * weight).sum(), weight.sum()


def grouped_cross_entropy(logits: Tensor, target: Target) -> Loss:
    """Of one target among those of its group, for each of C columns: logits and labels [N, C]; the weights of a group
    sum to what the group weighs."""
    labels, weight = columns(target)
    assert isinstance(target.group, Tensor)
    return -(log_softmax_in_groups(logits.float(), target.group) * labels).mean(-1).sum(), weight.sum()


def span_states(hidden: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """The states from `first` [N] to and with `last` [N]: [N, L, D], and which are of the span [N, L]."""
    place = first[:, None] + torch.arange(int((last - first).max()) + 1, device=first.device)
    return hidden[place.clamp(max=len(hidden) - 1)], place <= last[:, None]


LOSSES: dict[str, Callable[[Tensor, Target], Loss]] = {
    "several": binary_cross_entropy,
    "number": squared_error,
    "sentences": binary_cross_entropy,
    "relevance": binary_cross_entropy,
    "choice": grouped_cross_entropy,
    "span": grouped_cross_entropy,
    "span or none": grouped_cross_entropy,
}
"""{kind of a `TaskHead`: its loss}; of one label, cross-entropy."""


def loss_of(kind: str, logits: Tensor, target: Target, *, smoothing: float) -> Loss:
    """Cross-entropy of one label, or of a choice or a place among those of its group; the mean of binary ones where
    several labels may be right; squared error of a number. `smoothing` is for one label alone."""
    return cross_entropy(logits, target, smoothing=smoothing) if kind == "one" else LOSSES[kind](logits, target)


def log_softmax_in_groups(logits: Tensor, group: Tensor) -> Tensor:
    """Every column of logits [N, C], less the logarithm of the sum over the group [N] that a place belongs to."""
    _, number = group.unique(return_inverse=True)
    shape = (int(number.max()) + 1, logits.shape[1])
    index = number[:, None].expand_as(logits)
    most = logits.new_full(shape, -torch.inf).scatter_reduce(0, index, logits.detach(), "amax")
    total = logits.new_zeros(shape).scatter_add(0, index, (logits - most[number]).exp())
    return logits - most[number] - total.log()[number]
