"""The float32 master behind a model: views of one buffer, and the same gradients however a step is dealt out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bothways.batch import Batch, Sample
from bothways.model.losses import plain_loss
from bothways.objectives import build
from bothways.training.loop import train
from bothways.training.weights import Replicated
from tests.training.small import (
    OPTIMISERS,
    VOCABULARY,
    everything,
    settings,
    small_model,
    state_of,
    text_row,
    work_of,
)

DTYPES = [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_are_views_of_one_buffer(dtype: torch.dtype) -> None:
    model = small_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    weights = Replicated(model, dtype)
    low = weights.low.untyped_storage().data_ptr()
    for name, parameter in model.named_parameters():
        assert parameter.dtype == dtype
        assert parameter.untyped_storage().data_ptr() == low
        assert torch.equal(weights.master[name], before[name])
        assert torch.equal(parameter, before[name].to(dtype))
    assert weights.flat.numel() == model.parameter_count()
    assert (weights.low is weights.flat) == (dtype == torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_publishing_gives_the_model_what_the_optimiser_changed(dtype: torch.dtype) -> None:
    model = small_model()
    weights = Replicated(model, dtype)
    with torch.no_grad():
        for weight in weights.master.values():
            weight.mul_(1.001)
    weights.gradient.fill_(1.0)
    weights.sync_model()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights.master[name].to(dtype))
    assert not weights.gradient.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_all_weights_move(optimiser: str, dtype: torch.dtype) -> None:
    model, config = small_model(layers=2), settings(optimiser)
    state = state_of(model, config.optimiser, dtype=dtype)
    before = everything(state)
    for _ in train(work_of(model), state=state, config=config, total=3):
        pass
    assert not [name for name, weight in state.weights.master.items() if torch.equal(weight, before[name])]
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, state.weights.master[name].to(dtype))


@pytest.mark.parametrize("objective", ["causal", "hybrid"])
def test_a_step_is_the_same_however_it_is_dealt_out(objective: str) -> None:
    """One batch of eight rows, two of four, eight of one: losses to 1e-6, gradients to 1e-5."""
    found = {}
    for each in (1, 4, 8):
        model = small_model(layers=2)
        config = settings(micro_rows=each)
        state = state_of(model, config.optimiser)
        gradients: dict[str, Tensor] = {}
        scale = state.weights.scale

        def keep(factor: Tensor | float, state=state, gradients=gradients, scale=scale) -> None:
            gradients.update({name: weight.grad.clone() for name, weight in state.weights.master.items()})
            scale(factor)

        state.weights.scale = keep
        reports = list(train(work_of(model, objective=objective, each=each), state=state, config=config, total=2))
        found[each] = reports, gradients
    for each in (1, 4):
        for ours, whole in zip(found[each][0], found[8][0], strict=True):
            assert ours.loss == pytest.approx(whole.loss, rel=1e-6)
            assert ours.losses == pytest.approx(whole.losses, rel=1e-6)
        for name, gradient in found[each][1].items():
            torch.testing.assert_close(gradient, found[8][1][name], rtol=1e-5, atol=1e-6)


def alone(sample: Sample, number: int) -> Sample:
    """One document of a sample in a row of its own, padded to the same length."""
    mine = np.flatnonzero(sample.layout.document == number)
    padding = np.arange(len(sample.tokens) - len(mine))
    layout = sample.layout.map(lambda column: np.concatenate([column[mine], np.zeros_like(column[: len(padding)])]))
    layout.document[len(mine) :] = -1 - padding
    targets = []
    for target in sample.targets:
        inside = np.isin(target.at, mine)
        weight = np.broadcast_to(target.weight, len(inside))[inside]
        at, labels = np.searchsorted(mine, target.at[inside]), target.labels[inside]
        targets.append(replace(target, at=at, labels=labels, weight=weight))
    tokens = np.concatenate([sample.tokens[mine], np.full_like(padding, VOCABULARY.pad)])
    return Sample(tokens, layout, tuple(targets))


@pytest.mark.parametrize("objective", ["causal", "mlm(replace=all-mask)", "prefix", "unilm1"])
def test_padded_equals_packed(objective: str) -> None:
    """Three documents in a row, and each alone in a padded row: the same logits, the same loss, the same gradient."""
    built = build(objective, VOCABULARY)
    packed = built.sample(text_row(np.random.default_rng(5), length=48), np.random.default_rng(6), 0.0)
    model = small_model(layers=2)
    found = []
    for samples in ([packed], [alone(packed, number) for number in range(3)]):
        model.zero_grad()
        batch = Batch.stack(samples)
        ((loss, count),) = plain_loss(model, batch).values()
        loss.backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        found.append((loss.detach(), count, gradient, model(batch)))
    (loss, count, gradient, logits), (other_loss, other_count, other_gradient, other_logits) = found
    torch.testing.assert_close(other_loss, loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(other_count, count)
    torch.testing.assert_close(other_gradient, gradient, rtol=1e-5, atol=1e-5 * float(gradient.abs().max()))
    for number in range(3):
        mine = np.flatnonzero(packed.layout.document == number)
        torch.testing.assert_close(other_logits[number, : len(mine)], logits[0, mine], rtol=1e-5, atol=1e-5)
