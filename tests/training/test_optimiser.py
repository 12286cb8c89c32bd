"""Optimisers against their formulas, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bothways.training.config import OptimiserConfig
from bothways.training.optimiser import LayerwiseAdam, build_optimisers
from bothways.training.weights import kind
from tests.training.small import OPTIMISERS, small_model

BETAS, EPSILON, RATE, DECAY = (0.9, 0.98), 1e-8, 1e-2, 0.1


def reference(name: str, weight: np.ndarray, gradients: list[np.ndarray], *, decay: float) -> np.ndarray:
    """The published updates, in float64."""
    w, (b1, b2) = weight.astype(np.float64), BETAS
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        corrected_m, corrected_v = m / (1 - b1**t), v / (1 - b2**t)
        if name == "adamw":
            w = w - RATE * decay * w
            w = w - RATE * corrected_m / (np.sqrt(corrected_v) + EPSILON)
        elif name == "bert-adam":
            w = w - RATE * (m / (np.sqrt(v) + EPSILON) + decay * w)
        else:
            r = corrected_m / (np.sqrt(corrected_v) + EPSILON) + decay * w
            lengths = np.linalg.norm(w), np.linalg.norm(r)
            ratio = lengths[0] / lengths[1] if decay and lengths[0] > 0 and lengths[1] > 0 else 1.0
            w = w - RATE * ratio * r
    return w


def after(name: str, weight: np.ndarray, gradients: list[np.ndarray], *, decayed: bool = True) -> np.ndarray:
    """Ours, from the same start."""
    ours = torch.tensor(weight, dtype=torch.float32)
    config = OptimiserConfig.model_validate(
        {"name": name, "learning_rate": RATE, "betas": BETAS, "epsilon": EPSILON, "weight_decay": DECAY}
    )
    some, none = ([ours], []) if decayed else ([], [ours])
    (optimiser,) = build_optimisers(config, matrices=some, tables=[], vectors=none)
    for gradient in gradients:
        ours.grad = torch.tensor(gradient, dtype=torch.float32)
        optimiser.step()
    return ours.numpy()


@pytest.mark.parametrize("name", ["adamw", "bert-adam", "lamb"])
@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("decayed", [True, False])
def test_steps_equal_the_published_formula(name: str, steps: int, decayed: bool) -> None:
    rng = np.random.default_rng(3)
    weight, gradients = rng.normal(size=(6, 5)), [rng.normal(size=(6, 5)) for _ in range(steps)]
    expected = reference(name, weight, gradients, decay=DECAY if decayed else 0.0)
    np.testing.assert_allclose(after(name, weight, gradients, decayed=decayed), expected, rtol=2e-5, atol=2e-6)


def test_adamw_is_that_of_torch() -> None:
    rng = np.random.default_rng(4)
    weight, gradients = rng.normal(size=(6, 5)), [rng.normal(size=(6, 5)) for _ in range(5)]
    theirs = torch.tensor(weight, dtype=torch.float32, requires_grad=True)
    optimiser = torch.optim.AdamW([theirs], lr=RATE, betas=BETAS, eps=EPSILON, weight_decay=DECAY)
    for gradient in gradients:
        theirs.grad = torch.tensor(gradient, dtype=torch.float32)
        optimiser.step()
    np.testing.assert_allclose(after("adamw", weight, gradients), theirs.detach().numpy(), rtol=1e-6, atol=1e-7)


@given(factor=st.sampled_from([0.25, 0.5, 2.0, 8.0, 1024.0]), seed=st.integers(0, 1000))
def test_the_step_of_lamb_grows_with_the_weights(factor: float, seed: int) -> None:
    """Fresh moments, no decay to speak of: the direction is the gradient's, the length a share of the weight's."""
    rng = np.random.default_rng(seed)
    weight, gradient = rng.normal(size=(4, 4)), rng.normal(size=(4, 4))

    def step(start: np.ndarray) -> Tensor:
        ours = torch.tensor(start, dtype=torch.float64)
        before = ours.clone()
        optimiser = LayerwiseAdam(
            [{"params": [ours], "weight_decay": 1e-30}], lr=RATE, betas=BETAS, eps=EPSILON, lamb=True
        )
        ours.grad = torch.tensor(gradient)
        optimiser.step()
        return ours - before

    torch.testing.assert_close(step(weight * factor), step(weight) * factor, rtol=1e-9, atol=0)
    assert float(step(weight).norm()) == pytest.approx(RATE * float(np.linalg.norm(weight)), rel=1e-9)


def test_bert_adam_starts_larger_than_adam() -> None:
    """Uncorrected, the first step is (1 - beta1) / sqrt(1 - beta2) of the gradient's sign: 0.71 where Adam's is 1."""
    change = np.zeros((2, 2)) - after("bert-adam", np.zeros((2, 2)), [np.ones((2, 2))])
    np.testing.assert_allclose(change, RATE * 0.1 / np.sqrt(0.02), rtol=1e-5)


def test_each_kind_of_weight_has_its_optimiser() -> None:
    """Muon takes the matrices of the blocks and nothing else; vectors are never decayed."""
    named = dict(small_model(layers=2).named_parameters())
    by_kind = {k: [w for name, w in named.items() if kind(name, w) == k] for k in ("matrices", "tables", "vectors")}
    assert sum(map(len, by_kind.values())) == len(named)
    names = {id(weight): name for name, weight in named.items()}
    for name in OPTIMISERS:
        config = OptimiserConfig.model_validate({"name": name, "learning_rate": 0.3, "adam_learning_rate": 0.1})
        optimisers = build_optimisers(config, **by_kind)
        groups = [(optimiser, group) for optimiser in optimisers for group in optimiser.param_groups]
        assert sorted(names[id(w)] for _, group in groups for w in group["params"]) == sorted(named)
        for optimiser, group in groups:
            in_muon = isinstance(optimiser, torch.optim.Muon)
            assert group["peak"] == group["lr"] == (0.1 if name == "muon" and not in_muon else 0.3)
            for weight in group["params"]:
                assert group["weight_decay"] == (0.0 if weight.dim() < 2 else config.weight_decay)
                assert in_muon == (name == "muon" and "blocks" in names[id(weight)] and weight.dim() == 2)
