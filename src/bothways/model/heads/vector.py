"""A vector a text, near those of texts that belong to it.

Letters: B rows, T tokens, D width, N texts, E examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bothways.batch import Target
from bothways.model.config import ModelConfig
from bothways.model.heads.head import Head, Loss
from bothways.model.heads.text import mean

if TYPE_CHECKING:
    from bothways.model.abilities import TaskHead

SCALE = 20.0
"""What cosines are multiplied by before the softmax, as sentence-transformers does."""


class VectorHead(nn.Module, Head):
    """The mean of a text's states, specials included, as sentence-transformers' mean pooling; nothing is learned.

    A target's `at` is [N, 2], the first and the last token of each text; the texts of an example are a group.
    """

    def __init__(self, config: ModelConfig, head: TaskHead) -> None:
        super().__init__()
        self._loss = squared_cosine_error if head.kind == "likeness" else contrastive

    def places(self, at: Tensor) -> None:
        """None: it wants all states."""

    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """[B*T, D] -> [N, D]."""
        return mean(hidden, torch.as_tensor(target.at))

    def loss(self, logits: Tensor, target: Target) -> Loss:
        """Labels [N, 2]: which of its example's texts a text is, and how alike the first two are, from 0 to 1; what it
        is divided by is the number of examples."""
        labels, group = target.labels, target.group
        assert isinstance(labels, Tensor) and isinstance(group, Tensor)
        order = group.argsort(stable=True)
        return self._loss(F.normalize(logits[order].float(), dim=-1), labels[order])


def contrastive(unit: Tensor, labels: Tensor) -> Loss:
    """The cross-entropy of a text's own among those of the whole batch (Henderson et al. 2017, section 4.4, with
    cosines): unit vectors [N, D] and labels [N, 2], by example."""
    text, own, negative = (unit[labels[:, 0] == number] for number in range(3))  # [E, D], [E, D], one of some
    logits = SCALE * text @ torch.cat([own, negative]).T  # [E, E and the negatives]
    loss = F.cross_entropy(logits, torch.arange(len(text), device=unit.device), reduction="sum")
    return loss, torch.tensor(float(len(text)), device=unit.device)


def squared_cosine_error(unit: Tensor, labels: Tensor) -> Loss:
    """Of how alike two texts are: unit vectors [N, D] and labels [N, 2], by example."""
    text, own = (unit[labels[:, 0] == number] for number in range(2))  # [E, D]
    loss = (((text * own).sum(-1) - labels[labels[:, 0] == 0, 1]) ** 2).sum()
    return loss, torch.tensor(float(len(text)), device=unit.device)
