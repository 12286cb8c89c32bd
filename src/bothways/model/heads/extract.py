"""Which sentences of a text belong to its summary (BERTSUM, Liu and Lapata 2019, section 3).

Letters: B rows, T tokens, N sentences of all texts of a batch, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bothways.batch import Target
from bothways.model.backbone import Stack, blocks_and_norm
from bothways.model.config import ModelConfig, PositionConfig
from bothways.model.heads.head import Head, Loss, loss_of
from bothways.model.heads.text import mean
from bothways.model.passing import Pass
from bothways.visibility import Layout, ordered

if TYPE_CHECKING:
    from bothways.model.abilities import TaskHead

LAYERS = 2
"""The number that was best of 1, 2 and 3 there."""


class SentenceLayers(Stack):
    """Blocks of the body's own shape over the sentences of texts, whose places are sines; the paper's have norms before
    what is added, 8 heads and an inner width of 2048."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        whole = config.attention.model_copy(update={"window": None})
        norm = config.norm.model_copy(update={"embeddings": False})
        positions = PositionConfig(kind="learned")  # none are turned
        own = {"layers": LAYERS, "attention": whole, "norm": norm, "positions": positions}
        self.config = config.model_copy(update=own)
        self.blocks, self.norm = blocks_and_norm(self.config)

    def forward(self, x: Tensor, group: Tensor) -> Tensor:
        """[N, D] -> [N, D]: a sentence sees those of its group [N], its text, and no others."""
        alike = group[:, None] == group
        place = alike.tril(-1).sum(1)  # how many of its text stand before it
        layout = Layout(document=group, step=torch.zeros_like(group), group=torch.zeros_like(group), position=place)
        layout = layout.map(lambda column: column[None])
        return self.encode((x + sines(place, x.shape[1]).to(x.dtype))[None], Pass(layout, ordered.dense(layout)))[0]


class ExtractHead(nn.Module, Head):
    """The logit of each sentence, that it belongs to the summary: from the state of the token before it, or as
    "extract-mean" from the mean of all its states, and from those of the other sentences of its text.

    A target's `at` is [N, 2], the first and last token of each sentence; those of a text are a group, in their order.
    """

    def __init__(self, config: ModelConfig, head: TaskHead) -> None:
        super().__init__()
        self.kind, self.smoothing, self._mean = head.kind, 0.0, head.head == "extract-mean"
        self.layers = SentenceLayers(config)
        self.out = nn.Linear(config.width, len(head.labels))

    def places(self, at: Tensor) -> Tensor | None:
        """The first place of each sentence [N] where only it is read; None: all states."""
        return None if self._mean else at[:, 0]

    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """[N, D], or for means [B*T, D] -> [N, 1]."""
        assert isinstance(target.group, Tensor)
        states = mean(hidden, torch.as_tensor(target.at)) if self._mean else hidden
        logits: Tensor = self.out(self.layers(states, target.group))
        return logits

    def loss(self, logits: Tensor, target: Target) -> Loss:
        """Sum over the sentences, and their count."""
        return loss_of(self.kind, logits, target, smoothing=self.smoothing)


def sines(place: Tensor, width: int) -> Tensor:
    """float32 [N, width] of places [N]: sines and cosines by turns (Vaswani et al. 2017, section 3.5)."""
    even = torch.arange(0, width, 2, device=place.device, dtype=torch.float32)
    angle = place[:, None] / 10_000.0 ** (even / width)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]
