"""The one Transformer: rows stay apart, padding and company change nothing, initial weights are as announced."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bothways.model import Model, ModelConfig
from bothways.visibility import Layout, ordered
from tests.model.small import CLASSIC, MODERN, SHAPES, model_of, packed, random_tokens


def states(config: ModelConfig, tokens: torch.Tensor, layout: Layout) -> torch.Tensor:
    with torch.no_grad():
        hidden: torch.Tensor = model_of(config).backbone(tokens, layout, ordered.dense(layout))
    return hidden


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_packed_equals_padded_equals_alone(shape: str, causal: bool) -> None:
    """Three documents in one row, in three rows with padding, and each by itself: the same states."""
    config, lengths = SHAPES[shape], [7, 11, 4]
    together = packed(lengths, padding=5, causal=causal, segments=config.classic)
    tokens = random_tokens(together)
    expected = states(config, tokens, together)
    apart = packed(*([length] for length in lengths), causal=causal, segments=config.classic)
    padded = torch.zeros(apart.document.shape, dtype=torch.long)
    start = 0
    for row, length in enumerate(lengths):
        own = slice(start, start + length)
        padded[row, :length] = tokens[0, own]
        if apart.segment is not None:
            apart.segment[row, :length] = together.segment[0, own]
        alone = states(config, tokens[:, own], together.map(lambda column, own=own: column[:, own]))
        torch.testing.assert_close(alone[0], expected[0, own], atol=1e-5, rtol=1e-5)
        start += length
    found = states(config, padded, apart)
    start = 0
    for row, length in enumerate(lengths):
        torch.testing.assert_close(found[row, :length], expected[0, start : start + length], atol=1e-5, rtol=1e-5)
        start += length


@pytest.mark.parametrize("shape", SHAPES)
def test_a_change_in_one_document_does_not_reach_another(shape: str) -> None:
    layout = packed([6, 9])
    tokens = random_tokens(layout)
    before = states(SHAPES[shape], tokens, layout)
    tokens[0, 8] = 96
    after = states(SHAPES[shape], tokens, layout)
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.isclose(before[:, 6:], after[:, 6:]).all(-1).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_shuffled_tokens_give_shuffled_states(shape: str) -> None:
    """Order is told by the layout alone."""
    layout = packed([5, 8], padding=2, causal=True)
    tokens = random_tokens(layout)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(0))
    expected = states(SHAPES[shape], tokens, layout)[:, order]
    found = states(SHAPES[shape], tokens[:, order], layout.map(lambda column: column[:, order]))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_mask_is_the_mask_that_hides_nothing(shape: str) -> None:
    layout = packed([9], [9])
    tokens, model = random_tokens(layout), model_of(SHAPES[shape])
    with torch.no_grad():
        found = model.backbone(tokens, layout, None)
    torch.testing.assert_close(found, states(SHAPES[shape], tokens, layout), atol=1e-5, rtol=1e-5)


NEAR = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("precision", NEAR)
@pytest.mark.parametrize("shape", SHAPES)
def test_states_at_some_places_are_those_of_all_places(shape: str, precision: torch.dtype) -> None:
    """So are their gradients, also where a place is there twice."""
    layout = packed([9, 4], [13], causal=True)
    tokens, at = random_tokens(layout), torch.tensor([20, 3, 3, 12])
    models = [model_of(SHAPES[shape]).to(precision) for _ in range(2)]
    every = models[0].backbone(tokens, layout, ordered.dense(layout)).flatten(0, 1)[at]
    some = models[1].backbone(tokens, layout, ordered.dense(layout), at=at)
    torch.testing.assert_close(some, every, atol=NEAR[precision], rtol=NEAR[precision])
    for states in (every, some):
        (states * torch.arange(1.0, 5.0)[:, None].to(precision)).sum().backward()
    for one, other in zip(models[0].backbone.parameters(), models[1].backbone.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        assert (one.grad - other.grad).norm() <= NEAR[precision] * one.grad.norm()


@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_is_near_float32(shape: str) -> None:
    config = SHAPES[shape].model_copy(update={"init": 0.05})
    layout = packed([20], [13], causal=True)
    tokens, model = random_tokens(layout), model_of(config)
    with torch.no_grad():
        expected = model.backbone(tokens, layout, ordered.dense(layout))
        found = model.bfloat16().backbone(tokens, layout, ordered.dense(layout))
    assert found.dtype == torch.bfloat16
    real = layout.real
    assert (found.float() - expected)[real].abs().max() < 0.05 * expected[real].abs().max()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_parameter_gets_a_gradient(shape: str) -> None:
    model, layout = Model(SHAPES[shape]), packed([9], causal=True, segments=SHAPES[shape].classic)
    hidden = model.backbone(random_tokens(layout), layout, ordered.dense(layout))
    model.logits(hidden).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_initial_weights() -> None:
    config = ModelConfig(vocabulary=1000, layers=8, width=128, heads=2, inner=256, length=32)
    spread = {name: p.std().item() for name, p in Model(config, seed=0).named_parameters() if p.dim() > 1}
    for name, std in spread.items():
        residual = name.endswith(("attention.out.weight", "down.weight"))
        assert std == pytest.approx(0.02 / 4 if residual else 0.02, rel=0.05), name


@pytest.mark.parametrize("config", [MODERN, CLASSIC])
def test_norms_start_at_one_and_biases_at_zero(config: ModelConfig) -> None:
    for name, parameter in Model(config).named_parameters():
        if parameter.dim() == 1:
            assert (parameter == (1.0 if name.endswith("norm.weight") else 0.0)).all(), name


def test_the_seed_is_all_that_initial_weights_depend_on() -> None:
    torch.manual_seed(1)
    first = Model(MODERN, seed=5).state_dict()
    torch.manual_seed(2)
    second, third = Model(MODERN, seed=5).state_dict(), Model(MODERN, seed=6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["backbone.embeddings.tokens.weight"], third["backbone.embeddings.tokens.weight"])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_can_be_moved_to_another_device(shape: str) -> None:
    """On "meta", which computes shapes only: anything that touches numbers, or forgets the device, fails."""
    model, layout = Model(SHAPES[shape]).to("meta"), packed([9], [4], causal=True).to("meta")
    tokens = torch.zeros(2, 9, dtype=torch.long, device="meta")
    hidden = model.backbone(tokens, layout, ordered.dense(layout))
    assert hidden.shape == (2, 9, 64) and hidden.device.type == "meta"
    assert model.logits(hidden).shape == (2, 9, 97)
    labels = torch.zeros(18, dtype=torch.long, device="meta")
    loss = model.words.loss(hidden.flatten(0, 1), model.table, labels, torch.ones(18, device="meta"))
    loss.backward()
    assert loss.device.type == "meta"


def test_what_an_objective_brings_is_drawn_anew_unless_it_keeps_its_weights() -> None:
    class Own(nn.Module):
        def __init__(self, config: ModelConfig) -> None:
            super().__init__()
            self.ln, self.dense = nn.LayerNorm(8), nn.Linear(8, 8)
            self.temperature = nn.Parameter(torch.tensor([0.07]))
            self.teacher = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
            self.teacher.keeps_weights = True
            for weight in self.teacher.parameters():
                nn.init.constant_(weight, 3.0)

    made = Model(MODERN, parts={"own": Own}).parts["own"].state_dict()
    assert made["ln.weight"].unique().tolist() == [1.0] and not made["ln.bias"].any() and not made["dense.bias"].any()
    assert float(made["temperature"]) == pytest.approx(0.07)
    assert all((weight == 3.0).all() for name, weight in made.items() if name.startswith("teacher."))
    assert 0 < made["dense.weight"].std() < 1
