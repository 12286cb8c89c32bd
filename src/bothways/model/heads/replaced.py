"""Was this token replaced? ELECTRA's discriminator (Clark et al. 2020, section 3.1).

Letters: N targets, D width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bothways.batch import Target
from bothways.model.config import ModelConfig
from bothways.model.heads.head import Head, Loss, columns
from bothways.model.heads.transform import Transform


class ReplacedHead(nn.Module, Head):
    """The logit that a token was replaced: one linear map, in the classic shape after a dense layer and GELU.

    ELECTRA has the latter; a linear map is all that transformers' EuroBERT can hold.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.transform = Transform(config, activation="gelu") if config.classic else None
        self.logit = nn.Linear(config.width, 1, bias=config.classic)

    def forward(self, hidden: Tensor) -> Tensor:
        """[N, D] -> [N]."""
        logits: Tensor = self.logit(hidden if self.transform is None else self.transform(hidden))
        return logits[..., 0]

    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """[N, D] -> [N]."""
        logits: Tensor = self(hidden)
        return logits

    def loss(self, logits: Tensor, target: Target) -> Loss:
        """Labels [N]: 1 replaced, 0 original, or the chance of it."""
        labels, weight = columns(target)
        loss = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), weight=weight, reduction="sum")
        return loss, weight.sum()
