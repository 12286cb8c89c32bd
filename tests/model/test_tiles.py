"""Attention by tiles equals the formula, and leaves out what nobody sees."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bothways.model import tiles as tiled
from bothways.model.attention import Rotary, attend, split_heads
from bothways.model.tiles import attend_by_tiles, faster_tiles, tiles

HEADS, HEAD_WIDTH = 2, 8
TOLERANCE = {torch.bfloat16: 3e-2, torch.float32: 2e-5}  # of the largest number


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def packed(rows: Sequence[Sequence[int]], *, causal: bool = False) -> Tensor:
    """The mask of rows of documents of these lengths."""
    document = torch.stack([torch.repeat_interleave(torch.arange(len(row)), torch.tensor(row)) for row in rows])
    mask = document[:, :, None] == document[:, None, :]
    return (mask.tril() if causal else mask)[:, None]


def rotary(length: int, dtype: torch.dtype) -> Rotary:
    return Rotary(torch.arange(length)[None], head_width=HEAD_WIDTH, base=10_000.0, dtype=dtype)


def assert_equals_formula(mask: Tensor, *, turns: bool, seed: int, dtype: torch.dtype = torch.bfloat16) -> None:
    rows, length = mask.shape[0], mask.shape[-1]
    mine = drawn(rows, length, 3 * HEADS * HEAD_WIDTH, seed=seed).to(dtype).requires_grad_()
    theirs = mine.detach().float().requires_grad_()
    cut = tiles(mask, heads=HEADS, dtype=dtype)
    found = attend_by_tiles(mine, heads=HEADS, rotary=rotary(length, dtype) if turns else None, tiles=cut)
    parts = split_heads(theirs, heads=HEADS, rotary=rotary(length, torch.float32) if turns else None)
    expected = attend(*parts, mask).transpose(1, 2).flatten(2)
    weight = drawn(*found.shape, seed=seed + 1)
    found.backward(weight.to(dtype))
    expected.backward(weight)
    assert mine.grad is not None and theirs.grad is not None
    for x, y in ((found, expected), (mine.grad, theirs.grad)):
        assert x.dtype == dtype
        assert (x.float() - y).abs().max() <= TOLERANCE[dtype] * y.abs().max()


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("turns", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    "rows", [[[512], [300, 212]], [[40] * 12 + [32]], [[128], [60, 68]], [[10, 290], [300], [299, 1]]]
)
def test_equals_the_formula(rows: list[list[int]], causal: bool, turns: bool, dtype: torch.dtype) -> None:
    assert_equals_formula(packed(rows, causal=causal), turns=turns, seed=len(rows), dtype=dtype)


@settings(max_examples=40)
@given(rows=st.integers(1, 4), length=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 10_000))
def test_any_mask(rows: int, length: int, share: float, seed: int) -> None:
    """Tiles of 8 queries, so that small masks have many."""
    mask = torch.rand(rows, 1, length, length, generator=torch.Generator().manual_seed(seed)) < share
    mask |= torch.eye(length, dtype=torch.bool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiled, "SIDE", 8)
        found = tiles(mask, heads=HEADS)
        covered = torch.zeros_like(mask)
        queries = torch.zeros(rows, length)
        for tile in found:
            covered[tile.rows, :, tile.queries, tile.keys] = True
            queries[tile.rows, tile.queries] += 1
        assert bool((covered | ~mask).all())
        assert bool((queries == 1).all())
        assert_equals_formula(mask, turns=True, seed=seed)


def test_what_nobody_sees_is_left_out() -> None:
    """Four documents of 128: a quarter of the row, without a bias; a causal row: five eighths."""

    def share(mask: Tensor) -> float:
        sizes = [(t.queries.stop - t.queries.start) * (t.keys.stop - t.keys.start) for t in tiles(mask, heads=HEADS)]
        return sum(sizes) / mask[0].numel()

    quarters = packed([[128] * 4])
    assert share(quarters) == 1 / 4
    assert all(tile.bias is None for tile in tiles(quarters, heads=HEADS))
    assert share(packed([[512]], causal=True)) == 5 / 8
    (whole,) = tiles(packed([[512]]), heads=HEADS)
    assert whole.bias is None


def test_float32_goes_by_tiles_where_it_is_trained() -> None:
    mask = packed([[60] * 8 + [32]])

    def cut(mask: Tensor, dtype: torch.dtype = torch.float32) -> bool:
        return faster_tiles(mask, heads=HEADS, dtype=dtype) is not None

    assert cut(mask) and cut(mask, torch.bfloat16) and not cut(mask, torch.float64)
    assert not cut(packed([[60, 68]]))  # of one tile
    with torch.no_grad():
        assert cut(mask, torch.bfloat16) and not cut(mask)


def test_what_is_hidden_counts_for_nothing() -> None:
    """Exactly: a hidden key's weight is 0.0, whatever stands there."""
    mask = packed([[60, 68]], causal=True)
    before = drawn(1, 128, 3 * HEADS * HEAD_WIDTH, seed=0).bfloat16()
    after = before.clone()
    after[:, 30:60] = 1e4
    found = [attend_by_tiles(x, heads=HEADS, rotary=None, tiles=tiles(mask, heads=HEADS)) for x in (before, after)]
    seen = torch.ones(128, dtype=torch.bool)
    seen[30:60] = False
    assert torch.equal(found[0][:, seen], found[1][:, seen])
    assert not torch.equal(found[0][:, ~seen], found[1][:, ~seen])
