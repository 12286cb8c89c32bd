"""Optimisers against their formulas, written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bothways.model import Model
from bothways.objectives import build
from bothways.training.config import OptimiserConfig
from bothways.training.muon import Muon, orthogonal
from bothways.training.optimiser import LayerwiseAdam, build_optimisers, rated
from bothways.training.weights import KINDS, Replicated, by_kind
from tests.training.small import OPTIMISERS, VOCABULARY, small_model

BETAS, EPSILON, RATE, DECAY = (0.9, 0.98), 1e-8, 1e-2, 0.1


def reference(
    name: str, weight: np.ndarray, gradients: list[np.ndarray], *, decay: float, layerwise: bool = True
) -> np.ndarray:
    """The published updates, in float64; `layerwise`: of a matrix, not of a vector."""
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
            ratio = lengths[0] / lengths[1] if layerwise and lengths[0] > 0 and lengths[1] > 0 else 1.0
            w = w - RATE * ratio * r
    return w


def after(
    name: str, weight: np.ndarray, gradients: list[np.ndarray], *, kind: str = "matrices", decay: float = DECAY
) -> np.ndarray:
    """Ours, from the same start."""
    ours = torch.tensor(weight, dtype=torch.float32)
    config = OptimiserConfig.model_validate(
        {"name": name, "learning_rate": RATE, "betas": BETAS, "epsilon": EPSILON, "weight_decay": decay}
    )
    (optimiser,) = build_optimisers(config, {key: [ours] if key == kind else [] for key in KINDS})
    for gradient in gradients:
        ours.grad = torch.tensor(gradient, dtype=torch.float32)
        optimiser.step()
    return ours.numpy()


@pytest.mark.parametrize("name", ["adamw", "bert-adam", "lamb"])
@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("decay", [DECAY, 0.0])
def test_steps_equal_the_published_formula(name: str, steps: int, kind: str, decay: float) -> None:
    """Vectors are never decayed nor scaled layer by layer; matrices are scaled whether they are decayed or not."""
    rng = np.random.default_rng(3)
    size = (30,) if kind == "vectors" else (6, 5)
    weight, gradients = rng.normal(size=size), [rng.normal(size=size) for _ in range(steps)]
    flat = kind == "vectors"
    expected = reference(name, weight, gradients, decay=0.0 if flat else decay, layerwise=not flat)
    np.testing.assert_allclose(after(name, weight, gradients, kind=kind, decay=decay), expected, rtol=2e-5, atol=2e-6)


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
    """Fresh moments, no decay: the direction is the gradient's, the length a share of the weight's."""
    rng = np.random.default_rng(seed)
    weight, gradient = rng.normal(size=(4, 4)), rng.normal(size=(4, 4))

    def step(start: np.ndarray) -> Tensor:
        ours = torch.tensor(start, dtype=torch.float64)
        before = ours.clone()
        groups = [{"params": [ours], "layerwise": True}]
        optimiser = LayerwiseAdam(groups, lr=RATE, betas=BETAS, eps=EPSILON, corrected=True)
        ours.grad = torch.tensor(gradient)
        optimiser.step()
        return ours - before

    torch.testing.assert_close(step(weight * factor), step(weight) * factor, rtol=1e-9, atol=0)
    assert float(step(weight).norm()) == pytest.approx(RATE * float(np.linalg.norm(weight)), rel=1e-9)


def test_bert_adam_starts_larger_than_adam() -> None:
    """Uncorrected, the first step is (1 - beta1) / sqrt(1 - beta2) of the gradient's sign: 0.71 where Adam's is 1."""
    change = np.zeros((2, 2)) - after("bert-adam", np.zeros((2, 2)), [np.ones((2, 2))])
    np.testing.assert_allclose(change, RATE * 0.1 / np.sqrt(0.02), rtol=1e-5)


def equalised(update: np.ndarray) -> np.ndarray:
    """The quintic of Newton-Schulz, five times, on the singular values themselves, in float64."""
    u, s, v = np.linalg.svd(update / np.linalg.norm(update), full_matrices=False)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s) @ v


@pytest.mark.parametrize("shape", [(48, 16), (16, 48), (16, 16), (20, 16)])
@pytest.mark.parametrize("spread", [1.0, 1e-4])
def test_muon_makes_singular_values_equal(shape: tuple[int, int], spread: float) -> None:
    """Wide, tall and square; also where some singular values are a ten-thousandth of the largest."""
    rng = np.random.default_rng(5)
    u, _, v = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    update = (u * np.geomspace(1.0, spread, min(shape))) @ v
    found = orthogonal(torch.tensor(update, dtype=torch.float32), torch.float32)
    np.testing.assert_allclose(found.numpy(), equalised(update), atol=3e-4)


@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (8, 8)])
def test_muon_is_that_of_torch(shape: tuple[int, int]) -> None:
    """In bfloat16, as torch always multiplies, to the bit; in float32 within what bfloat16 rounds away."""
    rng = np.random.default_rng(6)
    start = torch.tensor(rng.normal(size=shape), dtype=torch.float32)
    settings = {"lr": RATE, "weight_decay": DECAY}
    theirs, low, full = (start.clone().requires_grad_() for _ in range(3))
    sides = {
        theirs: torch.optim.Muon([theirs], **settings, adjust_lr_fn="match_rms_adamw"),
        low: Muon([low], **settings, dtype=torch.bfloat16),
        full: Muon([full], **settings, dtype=torch.float32),
    }
    for _ in range(4):
        gradient = torch.tensor(rng.normal(size=shape), dtype=torch.float32)
        for weight, optimiser in sides.items():
            weight.grad = gradient.clone()
            optimiser.step()
    assert torch.equal(low, theirs)
    with torch.no_grad():
        assert float((full - theirs).norm()) < 0.15 * float((start - theirs).norm())


@pytest.mark.parametrize("expression", ["causal", "electra", "mlm(sentences=sop)"])
@pytest.mark.parametrize("word_head", ["tied", "untied"])
def test_each_kind_of_weight_has_its_optimiser(expression: str, word_head: str) -> None:
    """Muon takes the matrices of the blocks and nothing else, no head and no projection; vectors are never decayed."""
    objective = build(expression, VOCABULARY)
    shape = small_model(layers=2).config.model_copy(update={"word_head": word_head})
    model = Model(shape, heads=objective.heads, parts=objective.parts)
    weights = Replicated(model, torch.float32)
    named, groups_of = weights.master, by_kind(weights, model)
    assert sum(map(len, groups_of.values())) == len(named)
    names = {id(weight): name for name, weight in named.items()}
    for name in OPTIMISERS:
        config = OptimiserConfig.model_validate({"name": name, "learning_rate": 0.3, "adam_learning_rate": 0.1})
        optimisers = build_optimisers(config, groups_of)
        groups = [(optimiser, group) for optimiser in optimisers for group in optimiser.param_groups]
        assert sorted(names[id(w)] for _, group in groups for w in group["params"]) == sorted(named)
        for optimiser, group in groups:
            in_muon = isinstance(optimiser, Muon)
            assert group["peak"] == group["lr"] == (0.1 if name == "muon" and not in_muon else 0.3)
            for weight in group["params"]:
                assert group["weight_decay"] == (0.0 if weight.dim() < 2 else config.weight_decay)
                assert in_muon == (name == "muon" and ".blocks." in names[id(weight)] and weight.dim() == 2)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_pace_multiplies_the_rate_of_its_weights_alone(name: str) -> None:
    """Of two parts that learn from the same gradients, the slow one goes a tenth as far in its first step."""
    weights = {kind: [torch.full((4, 4), 2.0) for _ in range(3)] for kind in KINDS}
    slow, fast = ([some[i] for some in weights.values()] for i in (1, 2))
    optimisers = build_optimisers(OptimiserConfig(name=name, learning_rate=RATE), weights, paces=[(slow, 0.1)])
    for weight in [weight for some in weights.values() for weight in some]:
        weight.grad = torch.eye(4)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"]
        optimiser.step()
    for behind, ahead in zip(slow, fast, strict=True):
        torch.testing.assert_close(2 - behind, (2 - ahead) * 0.1, rtol=1e-4, atol=1e-6)
    held = [weight for optimiser in optimisers for group in optimiser.param_groups for weight in group["params"]]
    assert len(held) == len({id(weight) for weight in held}) == 9


@pytest.mark.parametrize("name", ["muon", "adamw", "bert-adam", "lamb"])
def test_a_rate_given_alone_is_that_of_everything(name: str) -> None:
    def rates(**given: float) -> tuple[float | None, float | None]:
        found = rated(OptimiserConfig.model_validate({"name": name, **given}), width=512)
        return found.learning_rate, found.adam_learning_rate

    plain = rates()
    assert plain[0] == plain[1] == rated(OptimiserConfig.model_validate({"name": name}), width=128).learning_rate / 2
    assert rates(learning_rate=0.3) == (0.3, 0.3)
    assert rates(adam_learning_rate=0.1) == (plain[0], 0.1)
