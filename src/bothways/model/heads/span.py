"""Where an answer begins and where it ends: extractive question answering (Devlin et al. 2019, section 4.2).

Letters: N places, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from bothways.batch import Target
from bothways.model.config import ModelConfig
from bothways.model.heads.head import Head, Loss, grouped_cross_entropy
from bothways.model.heads.transform import Transform
from bothways.model.huggingface.families import head_shape

if TYPE_CHECKING:
    from bothways.model.abilities import TaskHead


class SpanHead(nn.Module, Head):
    """Two logits at every token: that the answer begins there, and that it ends there; a window is a group."""

    face: ClassVar[str] = "answerer"

    def __init__(self, config: ModelConfig, head: TaskHead) -> None:
        super().__init__()
        shape = head_shape(config, head)
        self.transform = Transform(config, activation=shape.activation, norm=shape.norm) if shape.activation else None
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.width, 2)

    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """[N, D] -> [N, 2]."""
        logits: Tensor = self.out(self.dropout(hidden if self.transform is None else self.transform(hidden)))
        return logits

    def loss(self, logits: Tensor, target: Target) -> Loss:
        """Labels [N, 2]: 1 at the first token, and 1 at the last."""
        return grouped_cross_entropy(logits, target)
