"""A step whose loss is far above those before it: it is not learned, since one bad batch can undo many good ones."""

from __future__ import annotations

import numpy as np

from bothways.training.state import State

STEPS = 128
"""Losses of learned steps that a new one is compared with; before there are as many, every step is learned."""
LEAST = 0.01
"""Of the mean: a deviation is never less, or a run that repeats itself would take its own trend for spikes."""
LASTING = 3
"""So many in a row are no spike: the text or the objective is another from here on, and is learned."""


def spike(state: State, loss: float, sigma: float | None) -> float | None:
    """The limit that the loss of a step is above, mean + `sigma` deviations of the last ones; None: it is learned.

    What was above the limit is not counted among the last ones, so that a second spike is measured as the first was.
    After three in a row all are forgotten. A function of the losses alone: it is the same on every process, and after a
    resume.
    """
    limit = _limit(state.recent, sigma)
    if limit is None or loss <= limit:
        state.recent = [*state.recent[-STEPS + 1 :], loss]
        state.spikes_in_a_row = 0
        return None
    state.spikes_in_a_row += 1
    if state.spikes_in_a_row > LASTING:
        state.recent, state.spikes_in_a_row = [loss], 0
        return None
    state.spikes += 1
    return limit


def _limit(recent: list[float], sigma: float | None) -> float | None:
    if sigma is None or len(recent) < STEPS:
        return None
    mean, deviation = float(np.mean(recent)), float(np.std(recent))
    return mean + sigma * max(deviation, LEAST * abs(mean))
