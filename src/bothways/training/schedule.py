"""The learning rate as a share of its peak: a function of the step and the number of steps, nothing else."""

from __future__ import annotations

import math

from bothways.training.config import ScheduleConfig


def decay_start(config: ScheduleConfig, total: int) -> int:
    """The first step at which the rate falls; a checkpoint before it serves any larger budget."""
    if config.shape != "wsd":
        return min(config.warmup_steps, total)
    return max(min(config.warmup_steps, total), total - round(config.decay * total))


def learning_rate(config: ScheduleConfig, step: int, total: int) -> float:
    """Share of the peak rate for step 0..total-1.

    Warm-up rises linearly, and never starts at zero. WSD: Hu et al. 2024 (MiniCPM), with a linear decay. Cosine and
    linear begin to fall one step later, as transformers has them.
    """
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    start = decay_start(config, total)
    if step < start:
        return 1.0
    if config.shape == "wsd":
        done = (step - start + 1) / (total - start + 1)
    else:
        done = (step - start) / max(1, total - start)
    falling = 0.5 * (1 + math.cos(math.pi * done)) if config.shape == "cosine" else 1 - done
    return config.floor + (1 - config.floor) * falling
