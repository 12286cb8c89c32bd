"""Attention on a CPU over those tiles of the mask that hold anything visible.

A tile has no mask where all is visible, and is left out where nothing is: packed documents and causal rows cost what
they show. In float32 a tile goes through PyTorch's fused attention; in bfloat16, where its backward is slower than in
float32, through batched products that stay in the processor's cache, nearly twice as fast (docs/decisions.md).

Letters: B rows, T tokens, H heads, E head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

from bothways.model.attention import Rotary, by_heads
from bothways.model.kernels import apply

SIDE = 128  # of a tile, queries; keys come in multiples of it, so that few shapes are met: oneDNN keeps code for each
SCORES = 2**20  # of a tile of whole rows over all heads: 2 MB
WORTH = 0.9  # a row is cut up if that leaves less than this share of it


@dataclass(frozen=True, slots=True)
class Tile:
    """Some queries of some rows, and the keys among which are all that they see.

    bias  [rows, 1, queries, keys], added to the scores: 0, and the lowest number where hidden; None: all is visible
    """

    rows: slice
    queries: slice
    keys: slice
    bias: Tensor | None

    def of_queries(self, x: Tensor) -> Tensor:
        """[B, H, T, E] -> a view [rows*H, queries, E]."""
        return x[self.rows, :, self.queries].flatten(0, 1)

    def of_keys(self, x: Tensor) -> Tensor:
        """[B, H, T, E] -> a view [rows*H, keys, E]."""
        return x[self.rows, :, self.keys].flatten(0, 1)


def faster_tiles(mask: Tensor, *, heads: int, dtype: torch.dtype) -> list[Tile] | None:
    """The tiles of a boolean mask [B, 1, T, T]; None: one fused call with the whole mask is as fast, or no other will
    do (a compiler cannot follow tiles, which depend on the numbers in the mask)."""
    if mask.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    training_float32 = dtype == torch.float32 and torch.is_grad_enabled() and mask.shape[-1] > SIDE
    return tiles(mask, heads=heads, dtype=dtype) if dtype == torch.bfloat16 or training_float32 else None


def tiles(mask: Tensor, *, heads: int, dtype: torch.dtype = torch.bfloat16) -> list[Tile]:
    """The tiles of a boolean mask [B, 1, T, T] that hold all its visible pairs; every query is in exactly one."""
    length = mask.shape[-1]
    at_once = max(1, SCORES // (heads * length**2))
    whole = slice(0, length)
    found: list[tuple[slice, slice, slice]] = []
    for row, blocks in enumerate(_key_blocks(mask[:, 0])):
        if sum(len(keys) for _, keys in blocks) < WORTH * length * len(blocks):
            found += [(slice(row, row + 1), queries, slice(keys.start, keys.stop)) for queries, keys in blocks]
        elif found and found[-1][1] == whole and row - found[-1][0].start < at_once:
            found[-1] = (slice(found[-1][0].start, row + 1), whole, whole)
        else:
            found.append((slice(row, row + 1), whole, whole))
    return [Tile(r, q, k, _bias(mask[r, :, q, k], dtype)) for r, q, k in found]


def _key_blocks(seen: Tensor) -> list[list[tuple[slice, range]]]:
    """For every row, its blocks of queries with the keys from the first to the last that any of them sees."""
    length = seen.shape[-1]
    found: list[list[tuple[slice, range]]] = [[] for _ in seen]
    for start in range(0, length, SIDE):
        queries = slice(start, min(start + SIDE, length))
        visible = seen[:, queries].any(1).int()  # [B, T]
        first, after = visible.argmax(1).tolist(), (length - visible.flip(1).argmax(1)).tolist()
        for row, (low, high) in enumerate(zip(first, after, strict=True)):
            low = low // SIDE * SIDE
            found[row].append((queries, range(low, min(low - (low - high) // SIDE * SIDE, length))))
    return found


def _bias(mask: Tensor, dtype: torch.dtype) -> Tensor | None:
    if bool(mask.all()):
        return None
    bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return bias.masked_fill_(~mask, torch.finfo(dtype).min)


class _AttendByTiles(Function):
    """qkv [B, T, 3*H*E] -> softmax(q k' / sqrt(E) + bias) v [B, T, H*E], with q and k turned by their positions."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int, rotary: Rotary | None, tiles: Sequence[Tile]) -> Tensor:
        split = by_heads(qkv, heads)
        q, k = split[:2].contiguous() if rotary is None else rotary.rotate(split[:2].contiguous())
        v = split[2].contiguous()
        context = torch.empty_like(v)
        attend = _attend_by_products if qkv.dtype == torch.bfloat16 else _attend_fused
        kept = [attend(tile, q, k, v, context) for tile in tiles]
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(q, k, v, context, *kept)
        ctx.rotary, ctx.tiles = rotary, tiles
        return context.transpose(1, 2).flatten(2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        q, k, v, context, *kept = ctx.saved_tensors
        rows, heads, length, head_width = q.shape
        grad = grads[0].view(rows, length, heads, head_width).transpose(1, 2).contiguous()
        split = q.new_zeros(3, *q.shape)
        back = _back_by_products if q.dtype == torch.bfloat16 else _back_fused
        for tile, one in zip(ctx.tiles, kept, strict=True):
            back(tile, grad, (q, k, v), context, one, split)
        result = q.new_empty(rows, length, 3 * heads * head_width)
        parts = by_heads(result, heads)
        if ctx.rotary is None:
            parts[:2].copy_(split[:2])
        else:
            ctx.rotary.rotate(split[:2], back=True, out=parts[:2])
        parts[2].copy_(split[2])
        return result, None, None, None


def _attend_fused(tile: Tile, q: Tensor, k: Tensor, v: Tensor, context: Tensor) -> Tensor:
    """Writes the tile's part of the context [B, H, T, E]; returns what backward needs: the log of the sums [.., Q]."""
    rows, queries, keys = tile.rows, tile.queries, tile.keys
    found, sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q[rows, :, queries], k[rows, :, keys], v[rows, :, keys], attn_mask=tile.bias
    )
    context[rows, :, queries] = found
    return cast("Tensor", sums)


def _back_fused(tile: Tile, grad: Tensor, qkv: Sequence[Tensor], context: Tensor, sums: Tensor, split: Tensor) -> None:
    """Adds the tile's gradients to `split` [3, B, H, T, E]."""
    rows, (q, k, v) = tile.rows, qkv
    at, to = (rows, slice(None), tile.queries), (rows, slice(None), tile.keys)
    found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad[at], q[at], k[to], v[to], context[at], sums, 0.0, False, attn_mask=tile.bias
    )
    for total, place, more in zip(split, (at, to, to), found, strict=True):
        total[place] += more


def _attend_by_products(tile: Tile, q: Tensor, k: Tensor, v: Tensor, context: Tensor) -> Tensor:
    """As `_attend_fused`; what backward needs are the weights [rows*H, queries, keys]."""
    queries, keys = tile.of_queries(q), tile.of_keys(k)
    weights = q.new_empty(*queries.shape[:2], keys.shape[1])
    torch.baddbmm(weights, queries, keys.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5, out=weights)
    if tile.bias is not None:
        weights.unflatten(0, (-1, q.shape[1])).add_(tile.bias)
    torch.softmax(weights, -1, out=weights)
    torch.bmm(weights, tile.of_keys(v), out=tile.of_queries(context))
    return weights


def _back_by_products(
    tile: Tile, grad: Tensor, qkv: Sequence[Tensor], context: Tensor, weights: Tensor, split: Tensor
) -> None:
    """As `_back_fused`."""
    (q, k, v), (grad_q, grad_k, grad_v), scale = qkv, split, grad.shape[-1] ** -0.5
    queries, keys, answer = tile.of_queries(q), tile.of_keys(k), tile.of_queries(grad)
    _add_product(tile.of_keys(grad_v), weights.transpose(1, 2), answer)
    scores = torch.bmm(answer, tile.of_keys(v).transpose(1, 2))
    torch.ops.aten._softmax_backward_data.out(scores, weights, -1, scores.dtype, grad_input=scores)
    _add_product(tile.of_queries(grad_q), scores, keys, scale)
    _add_product(tile.of_keys(grad_k), scores.transpose(1, 2), queries, scale)


def _add_product(total: Tensor, a: Tensor, b: Tensor, scale: float = 1.0) -> None:
    torch.baddbmm(total, a, b, alpha=scale, out=total)


def attend_by_tiles(qkv: Tensor, *, heads: int, rotary: Rotary | None, tiles: Sequence[Tile]) -> Tensor:
    """qkv [B, T, 3*H*E] -> [B, T, H*E]: `split_heads` and `attend` under the tiles' mask."""
    result: Tensor = apply(_AttendByTiles, qkv, heads, rotary, tiles)
    return result
