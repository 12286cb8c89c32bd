"""Prefix tuning: learned keys and values that stand before those of the tokens in every layer, and have no place.

Letters: P of a prefix, L layers, G key heads, E head width, D width, H width between the two layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bothways.model.adapters.config import PrefixConfig
from bothways.model.config import ModelConfig


class Prefix(nn.Module):
    """Keys and values [L, 2, G, P, E] of all layers: as they are, or while they learn made by two layers."""

    def __init__(
        self, config: ModelConfig, adapter: PrefixConfig, *, like: Tensor, generator: torch.Generator | None
    ) -> None:
        """`generator`: what they begin with; None: they are read, as they are."""
        super().__init__()
        self.tokens, self.shape = adapter.tokens, (config.layers, 2, config.key_heads, config.head_width)
        numbers = config.layers * 2 * config.key_heads * config.head_width
        hidden = adapter.hidden or config.width
        learns = generator is not None
        width = config.width if learns else numbers
        self.embeddings = nn.Parameter(like.new_zeros(adapter.tokens, width))
        self.narrow = nn.Linear(width, hidden, device=like.device, dtype=like.dtype) if learns else None
        self.wide = nn.Linear(hidden, numbers, device=like.device, dtype=like.dtype) if learns else None
        if generator is not None:
            self._begin(generator)

    @torch.no_grad()
    def _begin(self, generator: torch.Generator) -> None:
        self.embeddings.normal_(generator=generator)
        for layer, size in ((self.narrow, 1.0), (self.wide, 0.1)):
            assert layer is not None
            layer.weight.normal_(0.0, size * layer.in_features**-0.5, generator=generator)
            layer.bias.zero_()

    def flat(self) -> Tensor:
        """[P, L * 2 * G * E]: of each token, layer by layer, its keys and then its values."""
        if self.narrow is None or self.wide is None:
            return self.embeddings
        result: Tensor = self.wide(torch.tanh(self.narrow(self.embeddings)))
        return result

    def forward(self) -> Tensor:
        """[L, 2, G, P, E]."""
        found: Tensor = self.flat().unflatten(1, self.shape).movedim(0, 3)
        return found
