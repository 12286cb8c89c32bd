"""Yes or no, of a token: was it replaced (ELECTRA's discriminator), is it to be copied (its All-Tokens MLM's gate)?

Letters: N targets, D width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bothways.batch import Target
from bothways.model.config import ModelConfig
from bothways.model.heads.head import Head, Loss, binary_cross_entropy
from bothways.model.heads.transform import Transform


class BinaryHead(nn.Module, Head):
    """The logit of yes: one linear map."""

    def __init__(self, config: ModelConfig, *, dense: bool = False, bias: bool = False) -> None:
        """`dense`: after a layer of the model's width, and GELU."""
        super().__init__()
        self.transform = Transform(config, activation="gelu") if dense else None
        self.logit = nn.Linear(config.width, 1, bias=bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [...]."""
        logits: Tensor = self.logit(hidden if self.transform is None else self.transform(hidden))
        return logits[..., 0]

    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """[N, D] -> [N]."""
        return self.forward(hidden)

    def loss(self, logits: Tensor, target: Target) -> Loss:
        """Labels [N]: 1 yes, 0 no, or the chance of yes."""
        return binary_cross_entropy(logits, target)


def replaced(config: ModelConfig) -> BinaryHead:
    """Was this token replaced (Clark et al. 2020, section 3.1)? In the classic shape after a dense layer and GELU, as
    ELECTRA has it; a linear map is all that transformers' EuroBERT can hold."""
    return BinaryHead(config, dense=config.classic, bias=config.classic)


def copied(config: ModelConfig) -> BinaryHead:
    """The logit D that a token is to be copied from the input rather than predicted (Clark et al. 2020, section 3.4);
    its loss is that of the gate alone."""
    return BinaryHead(config)


def copied_or_predicted(gate: Tensor, words: Tensor, *, reads: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of -log(D [reads = label] + (1 - D) softmax(words)[label]).

    gate [N], words [N, V] logits of both heads, reads and labels [N] tokens.
    """
    gate = gate.float()
    predicted = F.logsigmoid(-gate) - F.cross_entropy(words.float(), labels, reduction="none")
    copied = torch.where(reads == labels, F.logsigmoid(gate), -torch.inf)
    return -(torch.logaddexp(predicted, copied) * weight).sum()
