"""Attention equals its formula: rotation, split, weighted sum, in both precisions, with and without a mask."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bothways.model.attention import Rotary, attend, split_heads

DTYPES = [torch.float32, torch.bfloat16]
CLOSE = {torch.float32: 1e-5, torch.bfloat16: 4e-2}
seeds = st.integers(0, 10_000)


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert (found.double() - expected.double()).abs().max() <= CLOSE[dtype] * expected.abs().max().clamp(min=0.1)


def turned(x: Tensor, position: Tensor, base: float) -> Tensor:
    """RoFormer (Su et al. 2021, section 3.2.2) by complex numbers: frequency i turns the pair (i, i + E/2)."""
    half = x.shape[-1] // 2
    frequency = base ** -(torch.arange(half, dtype=torch.float64) / half)
    angle = position.double()[:, None, :, None] * frequency
    result = torch.complex(x[..., :half].double(), x[..., half:].double()) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([result.real, result.imag], -1)


def plain_split(qkv: Tensor, heads: int, position: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv.double().chunk(3, dim=-1))
    if position is None:
        return q, k, v
    return turned(q, position, 10_000.0), turned(k, position, 10_000.0), v


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rotates", [True, False])
@settings(max_examples=20)
@given(rows=st.integers(1, 3), length=st.integers(1, 20), heads=st.integers(1, 4), half=st.integers(1, 9), seed=seeds)
def test_split_heads(
    dtype: torch.dtype, rotates: bool, rows: int, length: int, heads: int, half: int, seed: int
) -> None:
    mine = drawn(rows, length, 3 * heads * 2 * half, seed=seed, dtype=dtype).requires_grad_()
    theirs = mine.detach().double().requires_grad_()
    position = torch.randint(0, 512, (rows, length), generator=torch.Generator().manual_seed(seed))
    rotary = Rotary(position, head_width=2 * half, base=10_000.0, dtype=dtype) if rotates else None
    found = split_heads(mine, heads=heads, rotary=rotary)
    expected = plain_split(theirs, heads, position if rotates else None)
    tolerance = CLOSE[dtype] if dtype == torch.bfloat16 else 1e-4  # the angle of place 500 is known to 3e-5 in float32
    for x, y in zip(found, expected, strict=True):
        assert x.shape == y.shape and (x.double() - y).abs().max() <= tolerance * y.abs().max()
    weights = [drawn(*x.shape, seed=seed + i, dtype=dtype) for i, x in enumerate(found)]
    torch.autograd.backward(list(found), weights)
    torch.autograd.backward(list(expected), [weight.double() for weight in weights])
    assert mine.grad is not None and theirs.grad is not None
    assert (mine.grad.double() - theirs.grad).abs().max() <= tolerance * theirs.grad.abs().max()


def test_rotation_sees_only_distances() -> None:
    q, k = drawn(1, 2, 5, 8, seed=0), drawn(1, 2, 5, 8, seed=1)

    def scores(shift: int) -> Tensor:
        rotary = Rotary(torch.arange(5)[None] + shift, head_width=8, base=10_000.0, dtype=torch.float32)
        return rotary.rotate(q) @ rotary.rotate(k).transpose(-1, -2)

    assert torch.allclose(scores(0), scores(37), atol=1e-4)


def plain_attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ v


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", [True, False])
@settings(max_examples=20)
@given(
    rows=st.integers(1, 3),
    heads=st.integers(1, 3),
    queries=st.integers(1, 20),
    older=st.integers(0, 5),
    width=st.integers(1, 20),
    seed=seeds,
)
def test_attend(
    dtype: torch.dtype, masked: bool, rows: int, heads: int, queries: int, older: int, width: int, seed: int
) -> None:
    keys = queries + older
    inputs = [
        drawn(rows, heads, length, width, seed=seed + i, dtype=dtype) for i, length in enumerate((queries, keys, keys))
    ]
    mask = None
    if masked:
        mask = torch.rand(rows, 1, queries, keys, generator=torch.Generator().manual_seed(seed)) < 0.5
        mask[..., 0] = True  # no row is empty
    mine = [x.clone().requires_grad_() for x in inputs]
    theirs = [x.double().requires_grad_() for x in inputs]
    found = attend(*mine, mask)
    expected = plain_attend(*theirs, mask)
    assert found.dtype == dtype
    assert_close(found, expected, dtype)
    weight = drawn(*found.shape, seed=seed, dtype=dtype)
    found.backward(weight)
    expected.backward(weight.double())
    for x, y in zip(mine, theirs, strict=True):
        assert x.grad is not None and y.grad is not None
        assert_close(x.grad, y.grad, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_hidden_counts_for_nothing(dtype: torch.dtype) -> None:
    """Exactly: a hidden key's weight is 0.0, whatever stands there."""
    q, k, v = (drawn(1, 2, 6, 16, seed=i, dtype=dtype) for i in range(3))
    mask = torch.ones(1, 1, 6, 6, dtype=torch.bool).tril()
    before = attend(q, k, v, mask)
    k[:, :, 4:], v[:, :, 4:] = 1e4, -1e4
    after = attend(q, k, v, mask)
    assert torch.equal(before[:, :, :4], after[:, :, :4])
    assert not torch.equal(before[:, :, 4:], after[:, :, 4:])
