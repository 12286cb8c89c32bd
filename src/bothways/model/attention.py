"""Attention: rotary positions, and the weighted sum over the tokens that a mask lets be seen.

On a CPU, bfloat16 batched products are nearly twice as fast as PyTorch's fused attention, whose bfloat16 backward is
slower than float32 (docs/results.md); so bfloat16 on a CPU takes `_Attend`, everything else the fused kernel.

Letters: B rows, T tokens, H heads, E head width, Q queries, K keys.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from bothways.model.kernels import apply


class Rotary:
    """cos and sin of every place times every frequency (RoFormer, Su et al. 2021), gathered for one batch."""

    def __init__(self, position: Tensor, *, head_width: int, base: float, dtype: torch.dtype) -> None:
        exponent = torch.arange(0, head_width, 2, device=position.device, dtype=torch.float32) / head_width
        frequency = 1.0 / base**exponent  # in this order, the angles equal transformers' bit by bit
        angle = position[..., None].float() * frequency  # [B, T, E/2]
        self.cos = angle.cos().to(dtype)[:, None]  # [B, 1, T, E/2]
        self.sin = angle.sin().to(dtype)[:, None]

    def turn(self, x: Tensor, *, out: Tensor, back: bool = False) -> Tensor:
        """Rotates the two halves of x [B, H, T, E] into `out`; `back` undoes it (the transpose, for gradients)."""
        left, right = x.chunk(2, dim=-1)
        out_left, out_right = out.chunk(2, dim=-1)
        sign = -1 if back else 1
        torch.mul(left, self.cos, out=out_left).addcmul_(right, self.sin, value=-sign)
        torch.mul(right, self.cos, out=out_right).addcmul_(left, self.sin, value=sign)
        return out


class _Split(Function):
    """qkv [B, T, 3*H*E] -> rotated q, rotated k, v, each [B, H, T, E] contiguous."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int, rotary: Rotary | None) -> tuple[Tensor, Tensor, Tensor]:
        rows, length, width = qkv.shape
        q, k, v = qkv.view(rows, length, 3, heads, width // (3 * heads)).permute(2, 0, 3, 1, 4)
        ctx.rotary = rotary
        if rotary is None:
            return q.contiguous(), k.contiguous(), v.contiguous()
        shape = q.shape
        return rotary.turn(q, out=q.new_empty(shape)), rotary.turn(k, out=k.new_empty(shape)), v.contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        grad_q, grad_k, grad_v = grads
        rows, heads, length, head_width = grad_q.shape
        result = grad_q.new_empty(rows, length, 3, heads, head_width)
        q, k, v = result.permute(2, 0, 3, 1, 4)
        if ctx.rotary is None:
            q.copy_(grad_q)
            k.copy_(grad_k)
        else:
            ctx.rotary.turn(grad_q, out=q, back=True)
            ctx.rotary.turn(grad_k, out=k, back=True)
        v.copy_(grad_v)
        return result.view(rows, length, -1), None, None


class _Attend(Function):
    """softmax(q k' / sqrt(E) + bias) v by batched products; keeps the attention weights for the backward."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        rows, heads, length, head_width = q.shape
        ctx.scale = head_width**-0.5
        q, k, v = q.flatten(0, 1) * ctx.scale, k.flatten(0, 1), v.flatten(0, 1)
        scores = torch.bmm(q, k.transpose(1, 2))
        if bias is not None:
            scores.view(rows, heads, length, -1).add_(bias)
        weights = torch.softmax(scores, -1, out=scores)
        ctx.save_for_backward(q, k, v, weights)
        return torch.bmm(weights, v).view(rows, heads, length, head_width)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, weights = ctx.saved_tensors
        heads = grads[0].shape[:2]
        grad = grads[0].contiguous().flatten(0, 1)
        grad_v = torch.bmm(weights.transpose(1, 2), grad)
        grad_weights = torch.bmm(grad, v.transpose(1, 2))
        grad_scores = torch.ops.aten._softmax_backward_data.out(
            grad_weights, weights, -1, weights.dtype, grad_input=grad_weights
        )
        grad_q = torch.bmm(grad_scores, k).mul_(ctx.scale)
        grad_k = torch.bmm(grad_scores.transpose(1, 2), q)
        return grad_q.unflatten(0, heads), grad_k.unflatten(0, heads), grad_v.unflatten(0, heads), None


def split_heads(qkv: Tensor, *, heads: int, rotary: Rotary | None) -> tuple[Tensor, Tensor, Tensor]:
    """qkv [B, T, 3*H*E] -> q, k, v [B, H, T, E], the first two turned by their positions."""
    q, k, v = apply(_Split, qkv, heads, rotary)
    return q, k, v


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """q [B, H, Q, E], k and v [B, H, K, E], mask [B, 1, Q, K] -> [B, H, Q, E].

    The mask is boolean (True = may see), or already a bias in q's dtype (0 and -inf) made once for all layers.
    """
    if q.dtype == torch.bfloat16 and q.device.type == "cpu":
        result: Tensor = apply(_Attend, q, k, v, mask)
        return result
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def as_bias(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Boolean mask -> what is added to the scores: 0 where visible, the lowest number where not."""
    if mask is None:
        return None
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)
