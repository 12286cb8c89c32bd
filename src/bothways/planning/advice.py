"""What should be trained with the time there is?

Letters: N weights, D tokens, C FLOPs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bothways.model import ModelConfig, preset
from bothways.model.config import SIZES
from bothways.planning.scale import Scale

LAYERS, WIDTHS = (4, 6, 8, 12), (128, 192, 256, 384, 512, 768)
REPEATS = 15.4


def expected_loss(parameters: float, tokens: float, unique: float = math.inf) -> float:
    """Nats a token of a model of N weights after D tokens (Hoffmann et al. 2022, section 3.3: 1.69 + 406.4 / N^0.34 +
    410.7 / D^0.28). Fitted to English, larger models and other vocabularies: only which of two is lower is used.

    Text that is read again is worth less each time: endless repeats are worth 15.4 readings more (Muennighoff et al.
    2023, section 3.1).
    """
    if tokens > unique:
        again = tokens / unique - 1
        tokens = unique * (1 + REPEATS * (1 - math.exp(-again / REPEATS)))
    return float(1.69 + 406.4 / parameters**0.34 + 410.7 / tokens**0.28)


@dataclass(frozen=True, slots=True)
class SizeChoice:
    """A size, and how far it comes in the time."""

    size: str
    parameters: float
    tokens: float
    loss: float


def choices(
    seconds: float, speed: Callable[[ModelConfig], float], *, vocabulary: int, length: int, unique: float = math.inf
) -> list[SizeChoice]:
    """Presets and shapes between them, the most promising first.

    Args:
        speed: tokens a second that a shape is trained at.
        unique: tokens of text that there are.
    """
    found = []
    for size in _sizes():
        shape = preset(size, vocabulary=vocabulary, length=length)
        parameters, tokens = Scale.of_shape(shape).parameters, seconds * speed(shape)
        found.append(SizeChoice(size, parameters, tokens, expected_loss(parameters, tokens, unique)))
    return sorted(found, key=lambda one: one.loss)


def _sizes() -> Sequence[str]:
    named = {shape: name for name, shape in SIZES.items()}
    return [named.get((layers, width), f"{layers}x{width}") for layers in LAYERS for width in WIDTHS]


def speed_by_width(measured: dict[int, float], flops: Callable[[ModelConfig], float]) -> Callable[[ModelConfig], float]:
    """Tokens a second of any shape from the useful FLOPs a second that were measured at some widths: between them by
    the logarithm of the width, beyond them as at the nearest."""
    widths = sorted(measured)

    def speed(shape: ModelConfig) -> float:
        rate = np.interp(math.log(shape.width), [math.log(w) for w in widths], [measured[w] for w in widths])
        return float(rate) / flops(shape)

    return speed
