"""The mean of the weights over the last steps of a run (Polyak & Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from bothways.training.config import TrainingConfig
from bothways.training.schedule import average_start
from bothways.training.state import State


@torch.no_grad()
def add_to_average(state: State, config: TrainingConfig, total: int) -> None:
    """Counts the weights in as they are after step `state.step`, if that is one of the last; of a run that is prolonged
    the mean begins anew."""
    if state.step < average_start(config, total):
        state.averaged, state.average = 0, {}
        return
    state.averaged += 1
    if state.averaged == 1:
        state.average = {name: weight.detach().clone() for name, weight in state.weights.master.items()}
    for name, mean in state.average.items():
        mean.lerp_(state.weights.master[name], 1 / state.averaged)


@contextmanager
def with_average(state: State) -> Iterator[None]:
    """The model has the mean of its weights inside, where there is one, and its own again behind."""
    own = {name: state.weights.master[name].detach().clone() for name in state.average}
    try:
        _put(state, state.average)
        yield
    finally:
        _put(state, own)


@torch.no_grad()
def _put(state: State, weights: dict[str, Tensor]) -> None:
    for name, weight in weights.items():
        state.weights.master[name].copy_(weight)
    if weights:
        state.weights.publish()
