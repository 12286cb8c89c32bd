"""Which token? The words head, which every model has.

Letters: N targets, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bothways.batch import Target
from bothways.model.config import ModelConfig
from bothways.model.heads.head import Head, Loss, columns, cross_entropy
from bothways.model.heads.transform import Transform
from bothways.model.kernels import (
    draw,
    linear_cross_entropy,
    linear_cross_entropy_and_draw,
    linear_log_likelihoods,
)


class LMHead(nn.Module):
    """Which token? Logits against the embedding table itself (tied, Press & Wolf 2017), or another.

    tied         states times the table
    untied       states times a table of its own
    transformed  first a dense layer, GELU and a norm, at the end a bias a token (BERT)
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.embedding_width or config.width
        self.smoothing = 0.0
        self.transform = self.bias = self.untied = None
        if config.word_head == "untied":
            self.untied = nn.Linear(config.width, config.vocabulary, bias=False)
        if config.word_head == "transformed":
            self.transform = Transform(config, activation="gelu", norm=True, width=width)
            self.bias = nn.Parameter(torch.zeros(config.vocabulary))

    def forward(self, hidden: Tensor, table: Tensor) -> Tensor:
        """hidden [N, D], table [V, D] -> logits [N, V]."""
        states = hidden if self.transform is None else self.transform(hidden)
        return F.linear(states, self._table(table), self.bias)

    def loss(self, hidden: Tensor, table: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of the negative log-likelihoods of `labels` [N], in nats; `smoothing` spreads a share of each
        label over all tokens."""
        if self.bias is None:
            rows = self._table(table)
            loss = linear_cross_entropy(hidden, rows, labels, weights)
            return loss + self._smoothed(hidden, rows, labels, weights) if self.smoothing else loss
        logits = self(hidden, table).float()
        each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.smoothing)
        return (each * weights).sum()

    def log_likelihoods(self, hidden: Tensor, table: Tensor, labels: Tensor) -> Tensor:
        """That of each label, [N], in nats: for losses that are no sum over tokens."""
        if self.bias is None:
            return linear_log_likelihoods(hidden, self._table(table), labels)
        return -F.cross_entropy(self(hidden, table).float(), labels, reduction="none")

    def _smoothed(self, hidden: Tensor, rows: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """What smoothing adds: the label's logit less the mean of all, which is linear in the states, so that no
        logits [N, V] are made for it."""
        apart = rows.index_select(0, labels).float() - rows.float().mean(0)
        return self.smoothing * ((hidden.float() * apart).sum(-1) * weights).sum()

    def loss_and_draw(
        self,
        hidden: Tensor,
        table: Tensor,
        labels: Tensor,
        weights: Tensor,
        uniforms: Tensor,
        temperature: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """The same, and a token [N] drawn from each distribution by `uniforms` [N], float32 of 0..1
        (`kernels.draw`)."""
        if self.bias is None:
            return linear_cross_entropy_and_draw(hidden, self._table(table), labels, weights, uniforms, temperature)
        logits = self(hidden, table).float()
        loss = (F.cross_entropy(logits, labels, reduction="none") * weights).sum()
        return loss, draw(logits.detach().softmax(-1), uniforms, temperature)

    def over(self, table: Tensor) -> TiedWords:
        """This head with the token embeddings [V, D] that it is tied to."""
        return TiedWords(self, table)

    def _table(self, tied: Tensor) -> Tensor:
        return tied if self.untied is None else self.untied.weight


@dataclass(frozen=True, slots=True)
class TiedWords(Head):
    """The words head of a model: `words` over the model's token embeddings [V, D]."""

    words: LMHead
    table: Tensor

    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """hidden [N, D] -> [N, V]."""
        found: Tensor = self.words(hidden, self.table)
        return found

    def loss(self, logits: Tensor, target: Target) -> Loss:
        """Sum over the places, and their count."""
        return cross_entropy(logits, target, smoothing=self.words.smoothing)

    def loss_at(self, hidden: Tensor, target: Target) -> Loss:
        """Of hard labels without keeping [N, V]."""
        labels, weight = columns(target)
        if labels.dim() > 1:
            return self.loss(self.logits(hidden, target), target)
        return self.words.loss(hidden, self.table, labels, weight), weight.sum()
