"""The learning rate as a share of its peak: a function of the step and the number of steps, nothing else.

What follows the rate (momentum, weight decay) is such a function, too, and is set with it, in `optimiser.follow`.
"""

from __future__ import annotations

import math

from bothways.training.config import ScheduleConfig, TrainingConfig


def end_start(config: TrainingConfig, total: int) -> int:
    """The first step of which the number of steps is asked: the rate falls, or weights are averaged from there on.

    A checkpoint before it serves any larger budget.
    """
    return min(decay_start(config.schedule, total), average_start(config, total))


def average_start(config: TrainingConfig, total: int) -> int:
    """The first step after which the weights are counted into their mean."""
    return total - round(config.average * total)


def decay_start(config: ScheduleConfig, total: int) -> int:
    """The first step at which a rate falls."""
    return min(_decay_start(config, total, matrices) for matrices in (False, True))


def _decay_start(config: ScheduleConfig, total: int, matrices: bool) -> int:
    if config.shape != "wsd":
        return min(config.warmup_steps, total)
    own = config.matrix_decay if matrices else None
    return max(min(config.warmup_steps, total), total - round((config.decay if own is None else own) * total))


def learning_rate(config: ScheduleConfig, step: int, total: int, *, matrices: bool = False) -> float:
    """Share of the peak rate for step 0..total-1, of the matrices under Muon or of all else.

    Warm-up rises linearly, and never starts at zero. WSD: Hu et al. 2024 (MiniCPM), with a linear decay. Cosine and
    linear begin to fall one step later, as transformers has them.
    """
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    start = _decay_start(config, total, matrices)
    if step < start:
        return 1.0
    if config.shape == "wsd":
        done = (step - start + 1) / (total - start + 1)
    else:
        done = (step - start) / max(1, total - start)
    falling = 0.5 * (1 + math.cos(math.pi * done)) if config.shape == "cosine" else 1 - done
    return config.floor + (1 - config.floor) * falling
