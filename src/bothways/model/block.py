"""One Transformer block, in the modern and in the classic shape.

Letters: B rows, T tokens, D width, H heads, E head width, F feed-forward width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bothways.model.attention import Rotary, attend, attend_grouped, split_heads, taken
from bothways.model.cache import LayerCache
from bothways.model.config import ModelConfig
from bothways.model.kernels import rms_norm, swiglu
from bothways.model.tiles import Tile, attend_by_tiles

Mask = Tensor | list[Tile] | None
"""Boolean [B, 1, Q, K], True = may see; or its tiles; or nothing: all see all."""


class RMSNorm(nn.Module):
    """Root mean square norm with a weight for every place of the state."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.epsilon)


class Attention(nn.Module):
    """Multi-head attention with one product for q, k and v.

    Where several heads share their keys and values, training lays these out once for every head that reads them: all
    that comes after is the same for both. A cache keeps them once.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        biased = config.shape == "classic"
        self.heads, self.key_heads = config.heads, config.key_heads or config.heads
        self.qkv = nn.Linear(config.width, sum(config.qkv_widths), bias=biased)
        self.query_norm = RMSNorm(config.head_width, config.epsilon) if config.head_norm else None
        self.key_norm = RMSNorm(config.head_width, config.epsilon) if config.head_norm else None
        self.out = nn.Linear(config.heads * config.head_width, config.width, bias=biased)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Mask,
        rotary: Rotary | None,
        cache: LayerCache | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        """What is seen from every place [B, T, D], or from the places `at` [N]: [N, D]."""
        qkv = self.qkv(x)
        if isinstance(mask, list):
            context = attend_by_tiles(self.every_head(qkv), heads=self.heads, rotary=rotary, tiles=mask)
        elif cache is None:
            q, k, v = split_heads(self.every_head(qkv), heads=self.heads, rotary=rotary)
            context = attend(q, k, v, mask).transpose(1, 2).flatten(2)
        else:
            q, k, v = (part.transpose(1, 2) for part in self.normed_heads(qkv))
            q, k = (q, k) if rotary is None else (rotary.turn(q), rotary.turn(k))
            context = attend_grouped(q, *cache.extend(k, v), mask).transpose(1, 2).flatten(2)
        result: Tensor = self.out(taken(context, at))
        return result

    def normed_heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, (H + 2 key heads) * E] -> q [B, T, H, E], k and v [B, T, key heads, E]."""
        widths = (self.heads, self.key_heads, self.key_heads)
        q, k, v = qkv.unflatten(-1, (sum(widths), -1)).split(widths, dim=2)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        return q, k, v

    def every_head(self, qkv: Tensor) -> Tensor:
        """[B, T, (H + 2 key heads) * E] -> [B, T, 3*H*E]: normed, each head beside keys and values of its own."""
        if self.key_heads == self.heads and self.query_norm is None:
            return qkv
        q, k, v = self.normed_heads(qkv)
        k, v = (x.repeat_interleave(self.heads // self.key_heads, dim=2) for x in (k, v))
        return torch.cat([q, k, v], 2).flatten(2)


class ModernBlock(nn.Module):
    """x + attention(norm(x)), then x + swiglu(norm(x)); no biases (Llama, Touvron et al. 2023, section 2.2)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.epsilon)
        self.attention = Attention(config)
        self.feed_forward_norm = RMSNorm(config.width, config.epsilon)
        self.gate = nn.Linear(config.width, config.inner, bias=False)
        self.up = nn.Linear(config.width, config.inner, bias=False)
        self.down = nn.Linear(config.inner, config.width, bias=False)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Mask,
        rotary: Rotary | None,
        cache: LayerCache | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        """The new states [B, T, D], or those at the places `at` [N] alone: [N, D]."""
        attended = self.attention(self.attention_norm(x), mask=mask, rotary=rotary, cache=cache, at=at)
        x = taken(x, at) + attended
        normed = self.feed_forward_norm(x)
        result: Tensor = x + self.down(swiglu(self.gate(normed), self.up(normed)))
        return result


class ClassicBlock(nn.Module):
    """norm(x + attention(x)), then norm(x + gelu feed-forward(x)) (BERT, Devlin et al. 2019)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.up = nn.Linear(config.width, config.inner)
        self.down = nn.Linear(config.inner, config.width)
        self.feed_forward_norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Mask,
        rotary: Rotary | None,
        cache: LayerCache | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        """The new states [B, T, D], or those at the places `at` [N] alone: [N, D]."""
        attended = self.attention(x, mask=mask, rotary=rotary, cache=cache, at=at)
        x = self.attention_norm(taken(x, at) + self.dropout(attended))
        result: Tensor = self.feed_forward_norm(x + self.dropout(self.down(F.gelu(self.up(x)))))
        return result
