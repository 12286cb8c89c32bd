"""How two things in a text are related.

Letters: B rows, T tokens, D width, N texts, C labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bothways.batch import Target
from bothways.model.config import ModelConfig
from bothways.model.heads.head import Head, Loss, cross_entropy, span_states

if TYPE_CHECKING:
    from bothways.model.abilities import TaskHead


class RelationHead(nn.Module, Head):
    """One label for two things in a text: from the states of the markers before them (entity markers, Baldini Soares
    et al. 2019, section 3); as "entities", from the text's first state and the means of both (R-BERT, Wu and He 2019).

    A target's `at` is [N, 5]: the beginning of a text and the markers around both things.
    """

    def __init__(self, config: ModelConfig, head: TaskHead) -> None:
        super().__init__()
        whole = head.head == "entities"
        self.smoothing = 0.0
        self.text = nn.Linear(config.width, config.width) if whole else None
        self.thing = nn.Linear(config.width, config.width) if whole else None
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear((3 if whole else 2) * config.width, len(head.labels))

    def places(self, at: Tensor) -> None:
        """None: it wants all states."""

    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """[B*T, D] -> [N, C]."""
        at = torch.as_tensor(target.at)
        if self.text is None or self.thing is None:
            read = hidden[at[:, [1, 3]]].flatten(1)
        else:
            things = torch.stack([_between(hidden, at[:, i], at[:, i + 1]) for i in (1, 3)], dim=1)  # [N, 2, D]
            text, both = self.dropout(hidden[at[:, 0]]), self.dropout(things)
            read = torch.cat([self.text(text.tanh()), self.thing(both.tanh()).flatten(1)], dim=-1)
        logits: Tensor = self.out(self.dropout(read))
        return logits

    def loss(self, logits: Tensor, target: Target) -> Loss:
        """Sum over the examples, and their count."""
        return cross_entropy(logits, target, smoothing=self.smoothing)


def _between(hidden: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """The means of the states from `first` [N] to and with `last` [N]: [N, D]."""
    states, inside = span_states(hidden, first, last)
    return torch.where(inside[..., None], states, 0.0).sum(1) / inside.sum(1, keepdim=True)
