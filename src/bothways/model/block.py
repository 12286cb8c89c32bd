"""One Transformer block.

Letters: B rows, T tokens, D width, H heads, E head width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bothways.model.attention import Rotary, attend, attend_grouped, attention_weights, split_heads
from bothways.model.config import ModelConfig
from bothways.model.kernels import rms_norm, swiglu
from bothways.model.passing import Pass
from bothways.model.tiles import attend_by_tiles

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "tanh": torch.tanh,
}


class RMSNorm(nn.Module):
    """Root mean square norm with a weight for every place of the state."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]"""
        return rms_norm(x, self.weight, self.epsilon)


def norm_of(config: ModelConfig, width: int) -> nn.Module:
    """A norm of states of some width, as the configuration has them."""
    own = config.norm
    return RMSNorm(width, own.epsilon) if own.kind == "rms" else nn.LayerNorm(width, eps=own.epsilon, bias=own.bias)


class Attention(nn.Module):
    """Multi-head attention with one product for q, k and v.

    Where several heads share their keys and values, training lays these out once for every head that reads them: all
    that comes after is the same for both. A cache keeps them once.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        own, head_width = config.attention, config.head_width
        self.heads, self.key_heads = config.heads, config.key_heads
        self.qkv = nn.Linear(config.width, sum(config.qkv_widths), bias=own.bias != "none")
        self.query_norm = RMSNorm(head_width, config.norm.epsilon) if own.head_norm else None
        self.key_norm = RMSNorm(head_width, config.norm.epsilon) if own.head_norm else None
        self.out = nn.Linear(config.heads * head_width, config.width, bias=own.bias == "all")

    def forward(self, x: Tensor, given: Pass) -> Tensor:
        """What is seen from every place [B, T, D], or from the places wanted: [N, D]."""
        qkv = self.qkv(x)
        if isinstance(given.mask, list):
            context = attend_by_tiles(self.every_head(qkv), heads=self.heads, rotary=given.rotary, tiles=given.mask)
        elif given.layer_cache is None:
            q, k, v = split_heads(self.every_head(qkv), heads=self.heads, rotary=given.rotary)
            if given.layer_prefix is not None:
                k, v = self.behind(given.layer_prefix, k, v)
            if "attention" in given.watched:  # of the tokens: what is given to a prefix is left out
                given.watched["attention"].append(attention_weights(q, k, given.mask)[..., -qkv.shape[1] :])
            context = attend(q, k, v, given.mask).transpose(1, 2).flatten(2)
        else:
            q, k, v = self.rotated_heads(qkv, given.rotary)
            context = attend_grouped(q, *given.layer_cache.extend(k, v), given.mask).transpose(1, 2).flatten(2)
        result: Tensor = self.out(given.wanted(context))
        return result

    def behind(self, prefix: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, T, E] behind those of a prefix [2, key heads, P, E]: [B, H, P + T, E]."""
        first = prefix.repeat_interleave(self.heads // self.key_heads, dim=1)[:, None]
        before_k, before_v = first.expand(-1, len(k), -1, -1, -1)
        return torch.cat([before_k, k], 2), torch.cat([before_v, v], 2)

    def normed_heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, (H + 2 key heads) * E] -> q [B, T, H, E], k and v [B, T, key heads, E]."""
        widths = (self.heads, self.key_heads, self.key_heads)
        q, k, v = qkv.unflatten(-1, (sum(widths), -1)).split(widths, dim=2)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        return q, k, v

    def rotated_heads(self, qkv: Tensor, rotary: Rotary | None) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, (H + 2 key heads) * E] -> q [B, H, T, E], k and v [B, key heads, T, E], the first two turned."""
        q, k, v = self.normed_heads(qkv)
        if rotary is None:
            return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        both = qkv.unflatten(-1, (-1, q.shape[-1]))[:, :, : q.shape[2] + k.shape[2]]
        both = both if self.query_norm is None else torch.cat([q, k], 2)
        q, k = rotary.rotate(both.transpose(1, 2)).split((self.heads, self.key_heads), dim=1)
        return q, k, v.transpose(1, 2)

    def every_head(self, qkv: Tensor) -> Tensor:
        """[B, T, (H + 2 key heads) * E] -> [B, T, 3*H*E]: normed, each head beside keys and values of its own."""
        if self.key_heads == self.heads and self.query_norm is None:
            return qkv
        q, k, v = self.normed_heads(qkv)
        k, v = (x.repeat_interleave(self.heads // self.key_heads, dim=2) for x in (k, v))
        return torch.cat([q, k, v], 2).flatten(2)


class CrossAttention(nn.Module):
    """Multi-head attention of a decoder's tokens over an encoder's states; places are not turned.

    A cache keeps the keys and values of a source, made when its states come.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bias, (queries, *keys) = config.attention.bias, config.qkv_widths
        self.key_heads, self.head_width = config.key_heads, config.head_width
        self.q = nn.Linear(config.width, queries, bias=bias != "none")
        self.kv = nn.Linear(config.width, sum(keys), bias=bias != "none")
        self.out = nn.Linear(queries, config.width, bias=bias == "all")

    def forward(self, x: Tensor, given: Pass) -> Tensor:
        """What is seen of the source from every place [B, T, D], or from the places wanted: [N, D]."""
        q = self.q(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
        k, v, mask = self._memory(given)
        context = attend_grouped(q, k, v, mask).transpose(1, 2).flatten(2)
        result: Tensor = self.out(given.wanted(context))
        return result

    def _memory(self, given: Pass) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys and values [B, key heads, S, E] of the source, and who sees them."""
        if given.memory is None:
            raise RuntimeError("a decoder was asked without a source: give the pass its memory")
        states, mask, cache = given.memory
        kept = None if cache is None else cache.layers[given.layer]
        if states is None:
            assert kept is not None, "neither states of a source nor a cache of its keys"
            return *kept.kept(), mask
        heads = (2, self.key_heads, self.head_width)
        k, v = self.kv(states).unflatten(-1, heads).permute(2, 0, 3, 1, 4)
        return *((k, v) if kept is None else kept.extend(k, v)), mask


class Block(nn.Module):
    """Attention and a feed-forward network, each added to the states: of their norm (x + f(norm(x)), GPT-2, Llama),
    with a norm of the sum after it (norm(x + f(x)), BERT), or normed on both sides (x + norm(f(norm(x))), Gemma 2).
    A decoder's block has cross-attention between them.

    Args:
        normed: what comes in is normed already, and has no norm before attention (ModernBERT's first block).
        crosses: with cross-attention.
    """

    def __init__(self, config: ModelConfig, *, normed: bool = False, crosses: bool = False) -> None:
        super().__init__()
        own, self.place, self.crosses = config.feed_forward, config.norm.place, crosses
        self.attention_norm = None if normed and self.place == "before" else norm_of(config, config.width)
        self.attention = Attention(config)
        self.cross_attention_norm = norm_of(config, config.width) if crosses else None
        self.cross_attention = CrossAttention(config) if crosses else None
        self.feed_forward_norm = norm_of(config, config.width)
        self.gate = nn.Linear(config.width, config.inner, bias=own.bias) if own.gated else None
        self.up = nn.Linear(config.width, config.inner, bias=own.bias)
        self.down = nn.Linear(config.inner, config.width, bias=own.bias)
        both = self.place == "both"
        self.attention_after_norm = norm_of(config, config.width) if both else None
        self.cross_attention_after_norm = norm_of(config, config.width) if both and crosses else None
        self.feed_forward_after_norm = norm_of(config, config.width) if both else None
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()
        self.activation, self.swiglu = ACTIVATIONS[own.activation], own.activation == "silu"

    def forward(self, x: Tensor, given: Pass) -> Tensor:
        """The new states [B, T, D], or those at the places wanted alone: [N, D]."""
        whole = given.everywhere() if self.crosses else given  # the queries of cross-attention are rows, too
        added = self.attention(self._before(x, self.attention_norm), whole)
        x = self._sum(whole.wanted(x), added, "attention")
        if self.crosses:
            assert self.cross_attention is not None
            across = self.cross_attention(self._before(x, self.cross_attention_norm), given)
            x = self._sum(given.wanted(x), across, "cross_attention")
        return self._sum(x, self.feed_forward(self._before(x, self.feed_forward_norm)), "feed_forward")

    def _before(self, x: Tensor, norm: nn.Module | None) -> Tensor:
        """What a part of the block reads."""
        result: Tensor = x if self.place == "after" or norm is None else norm(x)
        return result

    def _sum(self, x: Tensor, added: Tensor, part: str) -> Tensor:
        """The states x and what a part adds to them; its norms are looked up only where they stand behind it."""
        if self.place == "both":
            added = getattr(self, f"{part}_after_norm")(added)
        total: Tensor = x + self.dropout(added)
        if self.place == "after":
            total = getattr(self, f"{part}_norm")(total)
        return total

    def feed_forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        if self.gate is None:
            result: Tensor = self.down(self.activation(self.up(x)))
        elif self.swiglu:
            result = self.down(swiglu(self.gate(x), self.up(x)))
        else:
            result = self.down(self.activation(self.gate(x)) * self.up(x))
        return result
