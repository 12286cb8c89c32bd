"""Heads for what is not a word, of the state at the place where it is said.

The classic shape has the heads of the papers, the modern one a single linear layer.

Letters: N targets, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bothways.model import ModelConfig


class Replaced(nn.Module):
    """Is this piece replaced? One logit; in the classic shape of a dense layer and GELU (ELECTRA)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width) if config.shape == "classic" else None
        self.out = nn.Linear(config.width, 1, bias=config.shape == "classic")

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [N, D] -> logits [N]."""
        logits: Tensor = self.out(hidden if self.dense is None else F.gelu(self.dense(hidden)))
        return logits[:, 0]

    def loss(self, hidden: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of the negative log-likelihoods of `labels` [N] (1: replaced, 0: original), in nats."""
        wanted = labels.float()
        return (F.binary_cross_entropy_with_logits(self(hidden).float(), wanted, reduction="none") * weights).sum()


class Sentences(nn.Module):
    """Do the two halves belong together (0) or not (1)? In the classic shape of a dense layer and tanh (BERT)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width) if config.shape == "classic" else None
        self.out = nn.Linear(config.width, 2, bias=config.shape == "classic")

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [N, D] -> logits [N, 2]."""
        logits: Tensor = self.out(hidden if self.dense is None else torch.tanh(self.dense(hidden)))
        return logits

    def loss(self, hidden: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of the negative log-likelihoods of `labels` [N], in nats."""
        return (F.cross_entropy(self(hidden).float(), labels, reduction="none") * weights).sum()
