"""Attention on a CPU: batched products over the tiles of the mask that hold anything visible.

In bfloat16 they are nearly twice as fast as PyTorch's fused attention, whose backward is slower there than in float32
(docs/decisions.md); in float32 they are faster to train where enough of a row is hidden. A tile is small enough to stay
in the processor's cache between its products, has no mask where all is visible, and is left out where nothing is:
packed documents and causal rows cost what they show.

Letters: B rows, T tokens, H heads, E head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from bothways.model.attention import Rotary, by_heads
from bothways.model.kernels import apply

SIDE = 128  # of a tile, queries; keys come in multiples of it, so that few shapes are met: oneDNN keeps code for each
SCORES = 2**20  # of a tile of whole rows over all heads: 2 MB
WORTH = 0.9  # a row is cut up if that leaves less than this share of it
WORTH_IN_FLOAT32 = 0.7  # and in float32, a batch; measured level at 0.8


@dataclass(frozen=True, slots=True)
class Tile:
    """Some queries of some rows, and the keys among which are all that they see.

    bias  [rows, 1, queries, keys], added to the scores: 0, and the lowest number where hidden; None: all is visible
    """

    rows: slice
    queries: slice
    keys: slice
    bias: Tensor | None

    @property
    def pairs(self) -> int:
        """Of a query and a key, the same for every head."""
        return int(np.prod([place.stop - place.start for place in (self.rows, self.queries, self.keys)]))

    def of_queries(self, x: Tensor) -> Tensor:
        """[B, H, T, E] -> a view [rows*H, queries, E]."""
        return x[self.rows, :, self.queries].flatten(0, 1)

    def of_keys(self, x: Tensor) -> Tensor:
        """[B, H, T, E] -> a view [rows*H, keys, E]."""
        return x[self.rows, :, self.keys].flatten(0, 1)


def faster_tiles(mask: Tensor, *, heads: int, dtype: torch.dtype) -> list[Tile] | None:
    """The tiles of a boolean mask [B, 1, T, T]; None: PyTorch's fused attention is the faster way."""
    if mask.device.type != "cpu" or dtype not in (torch.bfloat16, torch.float32):
        return None
    if dtype == torch.bfloat16:
        return tiles(mask, heads=heads, dtype=dtype)
    if not torch.is_grad_enabled() or mask.shape[-1] <= SIDE:
        return None
    found = tiles(mask, heads=heads, dtype=dtype)
    return found if sum(tile.pairs for tile in found) < WORTH_IN_FLOAT32 * mask.numel() else None


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
        q, k = split[:2].contiguous() if rotary is None else rotary.turn(split[:2].contiguous())
        v = split[2].contiguous()
        ctx.scale = q.shape[-1] ** -0.5
        context = torch.empty_like(v)
        kept = []
        for tile in tiles:
            queries, keys = tile.of_queries(q), tile.of_keys(k)
            weights = q.new_empty(*queries.shape[:2], keys.shape[1])
            torch.baddbmm(weights, queries, keys.transpose(1, 2), beta=0, alpha=ctx.scale, out=weights)
            if tile.bias is not None:
                weights.unflatten(0, (-1, heads)).add_(tile.bias)
            torch.softmax(weights, -1, out=weights)
            torch.bmm(weights, tile.of_keys(v), out=tile.of_queries(context))
            if ctx.needs_input_grad[0]:
                kept.append(weights)
        ctx.save_for_backward(q, k, v, *kept)
        ctx.rotary, ctx.tiles = rotary, tiles
        return context.transpose(1, 2).flatten(2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        q, k, v, *kept = ctx.saved_tensors
        rows, heads, length, head_width = q.shape
        grad = grads[0].view(rows, length, heads, head_width).transpose(1, 2).contiguous()
        split = q.new_zeros(3, *q.shape)
        grad_q, grad_k, grad_v = split
        for tile, weights in zip(ctx.tiles, kept, strict=True):
            queries, keys, answer = tile.of_queries(q), tile.of_keys(k), tile.of_queries(grad)
            _add_product(tile.of_keys(grad_v), weights.transpose(1, 2), answer)
            scores = torch.bmm(answer, tile.of_keys(v).transpose(1, 2))
            torch.ops.aten._softmax_backward_data.out(scores, weights, -1, scores.dtype, grad_input=scores)
            _add_product(tile.of_queries(grad_q), scores, keys, ctx.scale)
            _add_product(tile.of_keys(grad_k), scores.transpose(1, 2), queries, ctx.scale)
        result = q.new_empty(rows, length, 3 * heads * head_width)
        parts = by_heads(result, heads)
        if ctx.rotary is None:
            parts[:2].copy_(split[:2])
        else:
            ctx.rotary.turn(split[:2], back=True, out=parts[:2])
        parts[2].copy_(grad_v)
        return result, None, None, None


def _add_product(total: Tensor, a: Tensor, b: Tensor, scale: float = 1.0) -> None:
    torch.baddbmm(total, a, b, alpha=scale, out=total)


def attend_by_tiles(qkv: Tensor, *, heads: int, rotary: Rotary | None, tiles: Sequence[Tile]) -> Tensor:
    """qkv [B, T, 3*H*E] -> [B, T, H*E]: `split_heads` and `attend` under the tiles' mask."""
    result: Tensor = apply(_AttendByTiles, qkv, heads, rotary, tiles)
    return result
