"""Each kernel equals its plain formula: values and gradients, in float32 and in bfloat16."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bothways.model import kernels
from bothways.model.kernels import linear_cross_entropy, linear_log_likelihoods, rms_norm, swiglu

DTYPES = [torch.float32, torch.bfloat16]
CLOSE = {torch.float32: 1e-5, torch.bfloat16: 4e-2}
"""Largest difference allowed, as a share of the largest number; bfloat16 has eight bits."""

sizes = st.integers(1, 33)
seeds = st.integers(0, 10_000)


def drawn(*shape: int, seed: int, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * scale).to(dtype)


def check(ours: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Values and gradients of `ours` in the inputs' precision against those of `plain` in float64."""
    dtype = inputs[0].dtype
    mine = [x.clone().requires_grad_() for x in inputs]
    theirs = [x.double().requires_grad_() for x in inputs]
    value, expected = ours(*mine), plain(*theirs)
    assert_close(value, expected, dtype)
    grad = drawn(*value.shape, seed=1, dtype=dtype)
    value.backward(grad.to(value.dtype))
    expected.backward(grad.double())
    for x, y in zip(mine, theirs, strict=True):
        assert x.grad is not None and y.grad is not None
        assert x.grad.shape == y.grad.shape and x.grad.dtype == x.dtype
        assert_close(x.grad, y.grad, dtype)


def assert_close(found: Tensor, expected: Tensor, dtype: torch.dtype, *, scale: float = 0.1) -> None:
    assert found.isfinite().all()
    difference = (found.double() - expected).abs().max()
    assert difference <= CLOSE[dtype] * expected.abs().max().clamp(min=scale)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=25)
@given(rows=sizes, length=sizes, width=st.integers(2, 80), seed=seeds)
def test_rms_norm(dtype: torch.dtype, rows: int, length: int, width: int, seed: int) -> None:
    def plain(x: Tensor, weight: Tensor) -> Tensor:
        return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight

    x = drawn(rows, length, width, seed=seed, dtype=dtype, scale=3.0)
    check(lambda x, w: rms_norm(x, w, 1e-6), plain, x, drawn(width, seed=seed + 1, dtype=dtype))


def test_rms_norm_of_large_numbers_in_bfloat16_does_not_overflow() -> None:
    x = torch.full((1, 512), 3e19, dtype=torch.bfloat16)
    assert torch.equal(rms_norm(x * 1e-3, torch.ones(512, dtype=torch.bfloat16), 1e-6), torch.ones_like(x))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=25)
@given(rows=sizes, length=sizes, width=sizes, seed=seeds)
def test_swiglu(dtype: torch.dtype, rows: int, length: int, width: int, seed: int) -> None:
    gate, up = (drawn(rows, length, width, seed=seed + i, dtype=dtype) for i in range(2))
    check(swiglu, lambda gate, up: gate * gate.sigmoid() * up, gate, up)


def plain_cross_entropy(labels: Tensor, weights: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda h, w: (F.cross_entropy(h @ w.T, labels, reduction="none") * weights.to(h.dtype)).sum()


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=25)
@given(tokens=sizes, width=sizes, vocabulary=st.integers(2, 200), seed=seeds)
def test_linear_cross_entropy(dtype: torch.dtype, tokens: int, width: int, vocabulary: int, seed: int) -> None:
    hidden = drawn(tokens, width, seed=seed, dtype=dtype)
    weight = drawn(vocabulary, width, seed=seed + 1, dtype=dtype, scale=width**-0.5)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, vocabulary, (tokens,), generator=generator)
    weights = torch.rand(tokens, generator=generator)
    check(
        lambda h, w: linear_cross_entropy(h, w, labels, weights), plain_cross_entropy(labels, weights), hidden, weight
    )


@settings(max_examples=20)
@given(chunk=st.integers(1, 9), seed=seeds)
def test_linear_cross_entropy_does_not_depend_on_the_chunks(chunk: int, seed: int) -> None:
    hidden, weight = drawn(9, 8, seed=seed, dtype=torch.float32), drawn(50, 8, seed=seed + 1, dtype=torch.float32)
    labels, weights = torch.arange(9), torch.linspace(0.0, 2.0, 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "LOGITS_AT_ONCE", 50 * chunk)
        check(
            lambda h, w: linear_cross_entropy(h, w, labels, weights),
            plain_cross_entropy(labels, weights),
            hidden,
            weight,
        )


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=25)
@given(tokens=sizes, width=sizes, vocabulary=st.integers(2, 200), chunk=st.integers(1, 40), seed=seeds)
def test_linear_log_likelihoods(
    dtype: torch.dtype, tokens: int, width: int, vocabulary: int, chunk: int, seed: int
) -> None:
    hidden = drawn(tokens, width, seed=seed, dtype=dtype)
    weight = drawn(vocabulary, width, seed=seed + 1, dtype=dtype, scale=width**-0.5)
    labels = torch.randint(0, vocabulary, (tokens,), generator=torch.Generator().manual_seed(seed))

    def plain(h: Tensor, w: Tensor) -> Tensor:
        return (h @ w.T).log_softmax(-1).gather(1, labels[:, None])[:, 0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "LOGITS_AT_ONCE", vocabulary * chunk)
        check(lambda h, w: linear_log_likelihoods(h, w, labels), plain, hidden, weight)


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (False, False)])
def test_linear_log_likelihoods_give_only_the_gradients_that_are_asked_for(wanted: tuple[bool, bool]) -> None:
    hidden = drawn(5, 8, seed=0, dtype=torch.float32).requires_grad_(wanted[0])
    weight = drawn(11, 8, seed=1, dtype=torch.float32).requires_grad_(wanted[1])
    found = linear_log_likelihoods(hidden, weight, torch.arange(5))
    assert found.requires_grad == any(wanted)
    if any(wanted):
        found.sum().backward()
    assert [x.grad is not None for x in (hidden, weight)] == [*wanted]
    with torch.no_grad():
        assert torch.equal(linear_log_likelihoods(hidden, weight, torch.arange(5)), found)


def test_linear_cross_entropy_of_an_improbable_answer_is_finite() -> None:
    """The softmax of a far smaller logit is 0 in float32, and its logarithm would make the step be skipped."""
    hidden = torch.tensor([[1.0]]).requires_grad_()
    weight = torch.tensor([[300.0], [0.0]]).requires_grad_()
    loss = linear_cross_entropy(hidden, weight, torch.tensor([1]), torch.ones(1))
    loss.backward()
    assert 80 < loss.item() <= 300
    assert hidden.grad is not None and hidden.grad.item() == pytest.approx(300.0)


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (False, False)])
def test_linear_cross_entropy_gives_only_the_gradients_that_are_asked_for(wanted: tuple[bool, bool]) -> None:
    hidden = drawn(5, 8, seed=0, dtype=torch.float32).requires_grad_(wanted[0])
    weight = drawn(11, 8, seed=1, dtype=torch.float32).requires_grad_(wanted[1])
    labels, weights = torch.arange(5), torch.ones(5)
    loss = linear_cross_entropy(hidden, weight, labels, weights)
    assert loss.requires_grad == any(wanted)
    if any(wanted):
        loss.backward()
    for x, asked in zip((hidden, weight), wanted, strict=True):
        assert (x.grad is not None) == asked
    assert_close(
        loss, plain_cross_entropy(labels, weights)(hidden.detach().double(), weight.detach().double()), torch.float32
    )


def test_linear_cross_entropy_of_nothing_is_zero() -> None:
    hidden, weight = torch.zeros(0, 8, requires_grad=True), torch.ones(11, 8, requires_grad=True)
    loss = linear_cross_entropy(hidden, weight, torch.zeros(0, dtype=torch.long), torch.zeros(0))
    loss.backward()
    assert loss.item() == 0 and weight.grad is not None and not weight.grad.any()
