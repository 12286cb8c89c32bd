"""One label a word: token classification.

Letters: N words, D width, C labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from bothways.batch import Target
from bothways.model.config import ModelConfig
from bothways.model.heads.head import Head, Loss, cross_entropy
from bothways.model.heads.transform import Transform
from bothways.model.huggingface.families import head_shape

if TYPE_CHECKING:
    from bothways.model.abilities import TaskHead


class TagsHead(nn.Module, Head):
    """One label a word, from the state of its first token. `smoothing` is that of the labels while it is trained."""

    face: ClassVar[str] = "tagger"

    def __init__(self, config: ModelConfig, head: TaskHead) -> None:
        super().__init__()
        self.smoothing = 0.0
        shape = head_shape(config, head)
        self.transform = Transform(config, activation=shape.activation, norm=shape.norm) if shape.activation else None
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.width, len(head.labels))

    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """[N, D] -> [N, C]."""
        logits: Tensor = self.out(self.dropout(hidden if self.transform is None else self.transform(hidden)))
        return logits

    def loss(self, logits: Tensor, target: Target) -> Loss:
        return cross_entropy(logits, target, smoothing=self.smoothing)
