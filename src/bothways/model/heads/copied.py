"""Is a token to be copied from the input rather than predicted? The gate of ELECTRA's All-Tokens MLM.

Letters: N targets, D width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bothways.batch import Target
from bothways.model.config import ModelConfig
from bothways.model.heads.head import Head, Loss, columns


class CopiedHead(nn.Module, Head):
    """The logit D that a token is to be copied from the input (Clark et al. 2020, section 3.4)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.logit = nn.Linear(config.width, 1, bias=False)

    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """[N, D] -> [N]."""
        logits: Tensor = self.logit(hidden)
        return logits[:, 0]

    def loss(self, logits: Tensor, target: Target) -> Loss:
        """Of the gate alone; labels [N]: 1 where the input is to be copied, or the chance of it."""
        labels, weight = columns(target)
        loss = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), weight=weight, reduction="sum")
        return loss, weight.sum()


def copied_or_predicted(gate: Tensor, words: Tensor, *, reads: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of -log(D [reads = label] + (1 - D) softmax(words)[label]).

    gate [N], words [N, V] logits of both heads, reads and labels [N] tokens.
    """
    gate = gate.float()
    predicted = F.logsigmoid(-gate) - F.cross_entropy(words.float(), labels, reduction="none")
    copied = torch.where(reads == labels, F.logsigmoid(gate), -torch.inf)
    return -(torch.logaddexp(predicted, copied) * weight).sum()
