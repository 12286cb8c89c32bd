"""Attention: rotary positions, and the weighted sum over the tokens that a mask lets be seen.

The plain way is PyTorch's fused attention. On a CPU, training goes by tiles (model/tiles.py) where that is faster.

Letters: B rows, T tokens, H heads, G key heads, E head width, Q queries, K keys.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from bothways.model.config import RotaryScaling
from bothways.model.kernels import apply


class Rotary:
    """cos and sin of every place times every frequency (RoFormer, Su et al. 2021), gathered for one batch."""

    def __init__(
        self,
        position: Tensor,
        *,
        head_width: int,
        base: float,
        dtype: torch.dtype,
        scaling: RotaryScaling | None = None,
    ) -> None:
        exponent = torch.arange(0, head_width, 2, device=position.device, dtype=torch.float32) / head_width
        frequency = 1.0 / base**exponent  # in this order, the angles equal transformers' bit by bit
        if scaling is not None:
            frequency = _SCALED[scaling.kind](frequency, scaling, base)
        angle = position[..., None].float() * frequency  # [B, T, E/2]
        angle = torch.cat([angle, angle], -1)[:, None]
        self.cos, self.sin = angle.cos(), angle.sin()  # [B, 1, T, E]
        if scaling is not None:
            self.cos, self.sin = self.cos * scaling.weight, self.sin * scaling.weight
        self.cos, self.sin = self.cos.to(dtype), self.sin.to(dtype)

    def rotate(self, x: Tensor, *, back: bool = False, out: Tensor | None = None) -> Tensor:
        """Rotates the two halves of x [..., B, H, T, E] into `out`, in few passes over memory; `back` undoes it."""
        half, sign = x.shape[-1] // 2, -1 if back else 1
        turned = torch.mul(x, self.cos, out=out)
        turned[..., :half].addcmul_(x[..., half:], self.sin[..., :half], value=-sign)
        turned[..., half:].addcmul_(x[..., :half], self.sin[..., :half], value=sign)
        return turned


def _linear(frequency: Tensor, scaling: RotaryScaling, base: float) -> Tensor:
    return frequency / scaling.factor


def _llama3(frequency: Tensor, scaling: RotaryScaling, base: float) -> Tensor:
    turns = scaling.length * frequency / (2 * torch.pi)
    share = ((turns - scaling.low) / (scaling.high - scaling.low)).clamp(0, 1)
    return frequency * (share + (1 - share) / scaling.factor)


def _yarn(frequency: Tensor, scaling: RotaryScaling, base: float) -> Tensor:
    """From the frequency that turns `high` times within the first length on, down to that which turns `low` times."""
    count = len(frequency)
    low, high = (
        count * math.log(scaling.length / (2 * math.pi * turns)) / math.log(base)
        for turns in (scaling.high, scaling.low)
    )
    if scaling.whole:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * count - 1)
    numbers = torch.arange(count, device=frequency.device, dtype=torch.float32)
    share = 1 - ((numbers - low) / (high - low or 0.001)).clamp(0, 1)
    return frequency / scaling.factor * (1 - share) + frequency * share


_SCALED = {"linear": _linear, "llama3": _llama3, "yarn": _yarn}
"""{kind: frequencies in radians a token -> scaled ones}, see `RotaryScaling`"""


class _SplitHeads(Function):
    """Split and turned; backward, the three gradients are laid into one tensor, turned back on the way."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        ctx.rotary = rotary
        split = by_heads(qkv, heads)
        q, k = rotary.rotate(split[:2])
        return q, k, split[2]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        rows, heads, length, head_width = grads[0].shape
        result = grads[0].new_empty(rows, length, 3 * heads * head_width)
        q, k, v = by_heads(result, heads)
        ctx.rotary.rotate(grads[0], back=True, out=q)
        ctx.rotary.rotate(grads[1], back=True, out=k)
        v.copy_(grads[2])
        return result, None, None


def by_heads(qkv: Tensor, heads: int) -> Tensor:
    """qkv [B, T, 3*H*E] seen as [3, B, H, T, E]."""
    return qkv.view(*qkv.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)


def split_heads(qkv: Tensor, *, heads: int, rotary: Rotary | None) -> tuple[Tensor, Tensor, Tensor]:
    """qkv [B, T, 3*H*E] -> q, k, v [B, H, T, E], the first two turned by their positions."""
    q, k, v = by_heads(qkv, heads) if rotary is None else apply(_SplitHeads, qkv, heads, rotary)
    return q, k, v


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """q [B, H, Q, E], k and v [B, H, K, E], mask [B, 1, Q, K], True = may see -> [B, H, Q, E]."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def attend_grouped(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The same with k and v [B, G, K, E] of fewer heads, each read by H / G neighbouring ones (Ainslie et al. 2023):
    their queries stand behind each other, so every key is read once."""
    groups = q.shape[1] // k.shape[1]
    if groups == 1:
        return attend(q, k, v, mask)
    together = q.unflatten(1, (k.shape[1], groups)).flatten(2, 3)  # [B, G, H / G * Q, E]
    tiled = mask if mask is None or mask.shape[2] == 1 else mask.repeat(1, 1, groups, 1)
    context: Tensor = attend(together, k, v, tiled).unflatten(2, (groups, q.shape[2])).flatten(1, 2)
    return context


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """What `attend` weighs the values with, float32 [B, H, Q, K]; lines sum to 1. For looking: `attend` keeps none."""
    scores = (q.float() @ k.float().transpose(2, 3)) * q.shape[-1] ** -0.5
    weights: Tensor = (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)
    return weights
