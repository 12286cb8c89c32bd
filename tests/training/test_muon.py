"""Muon equals PyTorch's own to the bit, and what it makes of a matrix is nearly orthogonal."""

from __future__ import annotations

import pytest
import torch

from bothways.training.muon import Muon, newton_schulz

SHAPES = [(24, 8), (8, 24), (16, 16), (8, 24)]


def drawn(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def test_equals_pytorch_bit_by_bit() -> None:
    ours, theirs = drawn(0), drawn(0)
    mine = Muon(ours, lr=0.01, weight_decay=0.1)
    other = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(5):
        for weights, optimiser in ((ours, mine), (theirs, other)):
            for weight, gradient in zip(weights, drawn(step + 1), strict=True):
                weight.grad = gradient
            optimiser.step()
        for x, y in zip(ours, theirs, strict=True):
            assert torch.equal(x, y)
            assert torch.equal(mine.state[x]["momentum_buffer"], other.state[y]["momentum_buffer"])
    assert not torch.equal(ours[0], drawn(0)[0])


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    found = newton_schulz(matrix.bfloat16())
    assert found.shape == shape and found.dtype == torch.bfloat16
    values = torch.linalg.svdvals(found.float())
    assert values.min() > 0.6 and values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(found.float().flatten(), (u @ v).flatten(), dim=0) > 0.97


def test_what_has_no_gradient_stays() -> None:
    weights = drawn(0)
    weights[1].grad = drawn(1)[1]
    Muon(weights, lr=0.01, weight_decay=0.1).step()
    assert [torch.equal(x, y) for x, y in zip(weights, drawn(0), strict=True)] == [True, False, True, True]
