"""Labels of tokens: one a word (token classification), or where an answer begins and where it ends (extractive question
answering, Devlin et al. 2019, section 4.2).

Letters: N places, D width, C labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from bothways.batch import Target
from bothways.model.config import ModelConfig
from bothways.model.heads.head import Head, Loss, loss_of
from bothways.model.heads.transform import Transform
from bothways.model.huggingface.families import head_shape

if TYPE_CHECKING:
    from bothways.model.abilities import TaskHead


class TokenHead(nn.Module, Head):
    """C logits from the state of a token: of a word's label, at its first token; or two at every token, that the answer
    begins there and that it ends there (a window is a group, and labels [N, 2] are 1 at the first token and at the
    last). `smoothing` is that of the labels while it is trained."""

    def __init__(self, config: ModelConfig, head: TaskHead) -> None:
        super().__init__()
        self.kind, self.smoothing = head.kind, 0.0
        shape = head_shape(config, head)
        self.transform = Transform(config, activation=shape.activation, norm=shape.norm) if shape.activation else None
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.width, len(head.labels))

    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """[N, D] -> [N, C]."""
        logits: Tensor = self.out(self.dropout(hidden if self.transform is None else self.transform(hidden)))
        return logits

    def loss(self, logits: Tensor, target: Target) -> Loss:
        """Sum over the places, and their count."""
        return loss_of(self.kind, logits, target, smoothing=self.smoothing)
