"""Muon: steps along the gradient with its singular values made equal.

Letters: M rows and N columns of a weight, turned so that M <= N.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bothways.training.weights import split_like, whole

A, B, C = 3.4445, -4.7750, 2.0315
"""Coefficients of Jordan's quintic x -> A x + B x^3 + C x^5: steep at 0, singular values end within 0.7 and 1.2."""
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) with the step of AdamW's usual size (Liu et al. 2025, section 2.2).

    m <- momentum m + (1 - momentum) g;  u = (1 - momentum) g + momentum m
    w <- w - rate decay w - rate 0.2 sqrt(max(M, N)) orthogonal(u)

    The function is that of torch.optim.Muon, which always multiplies in bfloat16; this one multiplies in `dtype`,
    since a processor without instructions for bfloat16 is twenty times slower in it than in float32.
    """

    def __init__(
        self, params: Sequence[Tensor], *, lr: float, weight_decay: float, dtype: torch.dtype, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step from the gradients; there is no closure to call."""
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                mean = state["momentum_buffer"].lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(mean, group["momentum"])
                size = 0.2 * math.sqrt(max(weight.shape))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                direction = split_like(orthogonal(whole(update), self.dtype).to(update.dtype), update)
                weight.add_(direction, alpha=-group["lr"] * size)


def orthogonal(update: Tensor, dtype: torch.dtype) -> Tensor:
    """The matrix with its singular values brought near 1 by Newton-Schulz, multiplied in `dtype`.

    In float32 a wide matrix is read twice only: what multiplies it is a polynomial in its Gram matrix [M, M], which is
    gathered first. In bfloat16 that would lose the small singular values, whose squares the Gram matrix holds.
    """
    x = update.to(dtype)
    x = x.T if x.shape[0] > x.shape[1] else x  # [M, N]
    x = x / x.norm().clamp(min=1e-7)
    wide = x.shape[1] >= 2 * x.shape[0]
    x = _by_gram(x) if wide and dtype == torch.float32 else _by_iteration(x)
    return x.T if update.shape[0] > update.shape[1] else x


def _by_iteration(x: Tensor) -> Tensor:
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    return x


def _by_gram(x: Tensor) -> Tensor:
    """The same polynomial: x_(k+1) = p(G_k) x_k and G_(k+1) = p(G_k) G_k p(G_k), so x_5 = p(G_4) ... p(G_0) x."""
    gram, product = x @ x.T, None
    for last in (False,) * (ITERATIONS - 1) + (True,):
        factor = torch.addmm(gram, gram, gram, beta=B, alpha=C)
        factor.diagonal().add_(A)
        product = factor if product is None else factor @ product
        gram = gram if last else factor @ (gram @ factor)
    assert product is not None
    return product @ x
