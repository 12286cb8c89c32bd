"""Do the two halves of a row belong together? BERT's next sentence, ALBERT's order of sentences.

Letters: N targets, D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from bothways.batch import Target
from bothways.model.config import ModelConfig
from bothways.model.heads.head import Head, Loss, cross_entropy
from bothways.model.heads.transform import Transform


class SentencesHead(nn.Module, Head):
    """Do the two halves belong together (0) or not (1)? In the classic shape after a dense layer and tanh (BERT)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.transform = Transform(config, activation="tanh") if config.classic else None
        self.out = nn.Linear(config.width, 2, bias=config.classic)

    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """[N, D] -> [N, 2]."""
        logits: Tensor = self.out(hidden if self.transform is None else self.transform(hidden))
        return logits

    def loss(self, logits: Tensor, target: Target) -> Loss:
        """Sum over the pairs of sentences, and their count."""
        return cross_entropy(logits, target)
