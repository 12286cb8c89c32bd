"""The mean of the last weights: which steps it counts, and that it comes and goes without a trace."""

from __future__ import annotations

import pytest
import torch

from bothways.training.averages import add_to_average, with_average
from bothways.training.loop import train
from tests.training.small import assert_same, everything, settings, small_model, state_of, work_of


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_the_mean_of_the_last_steps(dtype: torch.dtype) -> None:
    model = small_model()
    config = settings("muon").model_copy(update={"average": 0.4})
    state = state_of(model, config.optimiser, dtype=dtype)
    after = [
        {name: weight.clone() for name, weight in state.weights.master.items()}
        for _ in train(work_of(model), state=state, config=config, total=10)
    ]
    assert state.averaged == 4 and state.average.keys() == state.weights.master.keys()
    for name, mean in state.average.items():
        expected = torch.stack([weights[name] for weights in after[-4:]]).double().mean(0)
        torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-7)
    before, parameters = everything(state), [parameter.clone() for parameter in model.parameters()]
    with with_average(state):
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, state.average[name].to(dtype))
    assert_same(everything(state), before)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), parameters, strict=True))


def test_the_weights_come_back_after_an_error() -> None:
    state = state_of(small_model(), settings().optimiser)
    before = everything(state)
    state.averaged, state.average = 1, {name: weight + 1 for name, weight in state.weights.master.items()}
    with pytest.raises(KeyboardInterrupt), with_average(state):
        raise KeyboardInterrupt
    assert_same(everything(state), before)


def test_a_longer_run_begins_its_mean_anew() -> None:
    """Steps 6 to 9 of ten; of twenty they are none of the last, and are forgotten."""
    config = settings().model_copy(update={"average": 0.4})
    state = state_of(small_model(), config.optimiser)
    for state.step in range(6, 10):
        add_to_average(state, config, 10)
    assert state.averaged == 4
    state.step = 10
    add_to_average(state, config, 20)
    assert (state.averaged, state.average) == (0, {})
