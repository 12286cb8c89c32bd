"""Attention: rotary positions, and the weighted sum over the tokens that a mask lets be seen.

The plain way is PyTorch's fused attention. Training in bfloat16 on a CPU goes by tiles (model/tiles.py) instead.

Letters: B rows, T tokens, H heads, E head width, Q queries, K keys.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bothways.model.config import RotaryScaling


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
            frequency = _scaled(frequency, scaling)
        angle = position[..., None].float() * frequency  # [B, T, E/2]
        angle = torch.cat([angle, angle], -1)[:, None]
        self.cos = angle.cos().to(dtype)  # [B, 1, T, E]
        self.sin = angle.sin().to(dtype)

    def turn(self, x: Tensor) -> Tensor:
        """Rotates the two halves of x [B, H, T, E]."""
        left, right = x.chunk(2, dim=-1)
        return x * self.cos + torch.cat([-right, left], -1) * self.sin


def _scaled(frequency: Tensor, scaling: RotaryScaling) -> Tensor:
    """Frequencies in radians a token; see RotaryScaling."""
    turns = scaling.length * frequency / (2 * torch.pi)
    share = ((turns - scaling.low) / (scaling.high - scaling.low)).clamp(0, 1)
    return frequency * (share + (1 - share) / scaling.factor)


def split_heads(qkv: Tensor, *, heads: int, rotary: Rotary | None) -> tuple[Tensor, Tensor, Tensor]:
    """qkv [B, T, 3*H*E] -> q, k, v [B, H, T, E], the first two turned by their positions."""
    rows, length, width = qkv.shape
    q, k, v = qkv.view(rows, length, 3, heads, width // (3 * heads)).permute(2, 0, 3, 1, 4)
    return (q, k, v) if rotary is None else (rotary.turn(q), rotary.turn(k), v)


def taken(x: Tensor, at: Tensor | None) -> Tensor:
    """The states [N, D] at places [N] of x [B, T, D] laid end to end; of all places, x itself."""
    return x if at is None else x.flatten(0, 1).index_select(0, at)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """q [B, H, Q, E], k and v [B, H, K, E], mask [B, 1, Q, K], True = may see -> [B, H, Q, E]."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
