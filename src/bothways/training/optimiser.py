"""Optimisers over the float32 master weights: PyTorch's own where it has them, one small class where it has not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bothways.training.config import OptimiserConfig
from bothways.training.muon import Muon
from bothways.training.weights import KINDS

LEARNING_RATES = {"adamw": 3e-3, "bert-adam": 1e-3, "lamb": 1e-2, "muon": 5e-3}
"""At width 128; wider models take less. Those of muon and adamw are found by trial (docs/results.md)."""


def default_rate(name: str, *, width: int) -> float:
    """Of an optimiser: that at width 128, over the square root of how much wider this is."""
    return LEARNING_RATES[name] * math.sqrt(128 / width)


def rated(config: OptimiserConfig, *, width: int) -> OptimiserConfig:
    """The same with its rates filled in. One that is given alone as `learning_rate` is the rate of everything."""
    rate = config.learning_rate or default_rate(config.name, width=width)
    return config.model_copy(update={"learning_rate": rate, "adam_learning_rate": config.adam_learning_rate or rate})


class LayerwiseAdam(torch.optim.Optimizer):
    """Adam without bias correction (BERT: Devlin et al. 2019, optimization.py) and LAMB (You et al. 2020, alg. 2).

    r = m / (sqrt(v) + epsilon) + decay * w;  w <- w - rate * ratio * r
    LAMB (`corrected`) corrects m and v for their start at zero, and takes ratio = |w| / |r| (1 where either is 0) in
    groups that are `layerwise`; BERT's Adam corrects nothing and takes ratio = 1.
    """

    def __init__(self, params: Any, *, lr: float, betas: tuple[float, float], eps: float, corrected: bool) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "corrected": corrected}
        super().__init__(params, {**settings, "weight_decay": 0.0, "layerwise": False})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step from the gradients; there is no closure to call."""
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        mean = state["exp_avg"].lerp_(weight.grad, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
        if group["corrected"]:
            steps = float(state["step"])
            mean, square = mean / (1 - beta1**steps), square / (1 - beta2**steps)
        update = (mean / (square.sqrt() + group["eps"])).add_(weight, alpha=group["weight_decay"])
        ratio: Tensor | float = 1.0
        if group["layerwise"]:
            length, change = weight.norm(), update.norm()
            ratio = torch.where((length > 0) & (change > 0), length / change, torch.ones_like(length))
        weight.sub_(update * (group["lr"] * ratio))


def build_optimisers(
    config: OptimiserConfig,
    weights: Mapping[str, Sequence[Tensor]],
    *,
    dtype: torch.dtype = torch.float32,
    paces: Sequence[tuple[Sequence[Tensor], float]] = (),
) -> list[torch.optim.Optimizer]:
    """One or two optimisers over master weights, given by kind (`training.weights.KINDS`); vectors are never decayed.

    Every group keeps its peak learning rate under "peak"; the schedule sets "lr" from it. Muon multiplies in `dtype`.

    Args:
        paces: weights that learn at so many times the rate of the others.
    """
    optimisers = _choose(config, weights, dtype)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
        for some, times in paces:
            _apart(optimiser, {id(weight) for weight in some}, times)
    return optimisers


def _apart(optimiser: torch.optim.Optimizer, some: set[int], times: float) -> None:
    """Puts weights, by their ids, into groups of their own, at so many times the rate of those that they were in."""
    for group in [*optimiser.param_groups]:
        own = [weight for weight in group["params"] if id(weight) in some]
        if own:
            group["params"] = [weight for weight in group["params"] if id(weight) not in some]
            optimiser.add_param_group({**group, "params": own, "peak": group["peak"] * times})


def _choose(
    config: OptimiserConfig, weights: Mapping[str, Sequence[Tensor]], dtype: torch.dtype
) -> list[torch.optim.Optimizer]:
    config = rated(config, width=128)
    rate, adam_rate = config.learning_rate, config.adam_learning_rate
    assert rate is not None and adam_rate is not None
    matrices, tables, vectors = (list(weights[kind]) for kind in KINDS)
    if config.name == "muon":
        muon = Muon(matrices, lr=rate, weight_decay=config.weight_decay, dtype=dtype)
        return [muon, *_adam(config, adam_rate, decayed=tables, plain=vectors)]
    return _adam(config, rate, decayed=[*matrices, *tables], plain=vectors)


def _adam(
    config: OptimiserConfig, rate: float, *, decayed: Sequence[Tensor], plain: Sequence[Tensor]
) -> list[torch.optim.Optimizer]:
    groups: list[dict[str, Any]] = [
        {"params": list(decayed), "weight_decay": config.weight_decay, "layerwise": config.name == "lamb"},
        {"params": list(plain), "weight_decay": 0.0, "layerwise": False},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        return []
    if config.name in ("adamw", "muon"):
        return [torch.optim.AdamW(groups, lr=rate, betas=config.betas, eps=config.epsilon, fused=True)]
    corrected = config.name == "lamb"
    return [LayerwiseAdam(groups, lr=rate, betas=config.betas, eps=config.epsilon, corrected=corrected)]
