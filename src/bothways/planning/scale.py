"""How large a model is: weights, arithmetic, memory and disk, from its shape or from a number of weights alone.

Letters: N weights, D tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bothways.errors import UsageError
from bothways.model import ModelConfig

TOKENS_A_WEIGHT = 20.0
"""Of a model that is as good as its FLOPs allow (Hoffmann et al. 2022, table 3: 20 at all sizes)."""
STATE = 16
"""Bytes a weight while training in mixed precision: 2 the weight, 2 its gradient, 4 in float32, 8 AdamW's moments
(Rajbhandari et al. 2020, section 3.1)."""
SAVED, SAVED_TO_GO_ON = 2, 12
"""Bytes a weight on disk: in 16 bits; in float32 with both moments."""


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts: `count` feed-forward networks in every `every`-th layer, `active` of them for a token."""

    count: int
    active: int = 1
    every: int = 1

    def __post_init__(self) -> None:
        if not (1 <= self.active <= self.count and self.every >= 1):
            raise UsageError(
                f"experts are COUNT/ACTIVE/EVERY with 1 <= ACTIVE <= COUNT, as 64/1/2; "
                f"got {self.count}/{self.active}/{self.every}"
            )


@dataclass(frozen=True, slots=True)
class Scale:
    """What costs depend on.

    parameters   all weights
    active       those that take part in a token: without experts, all
    shape        None where only their number is known: then no activations, and FLOPs by the rule 6ND alone
    extra        body weights that take part in a token beyond the shape's own (second and further experts, routers)
    passed       feed-forward networks that a token passes in a layer, on the average
    """

    parameters: float
    active: float
    shape: ModelConfig | None = None
    extra: float = 0.0
    passed: float = 1.0

    @classmethod
    def of_count(cls, parameters: float) -> Scale:
        """
        Raises:
            UsageError: a number of weights that cannot be.
        """
        if not (math.isfinite(parameters) and parameters > 0):
            raise UsageError(f"expected a number of weights above 0, got {parameters:g}")
        return cls(parameters, parameters)

    @classmethod
    def of_shape(cls, shape: ModelConfig, experts: Experts | None = None) -> Scale:
        """Counted from the matrices and norms of the shape."""
        tables = shape.vocabulary * (shape.embedding_width or shape.width) * (2 if shape.word_head == "untied" else 1)
        around = 2 if shape.norm.place == "both" else 1
        norms = (around * (2 * shape.layers + 3 * _behind(shape)) + (2 if shape.decoder else 1)) * shape.width
        plain = shape.body_parameters + tables + norms
        if experts is None:
            return cls(plain, plain, shape)
        layers = shape.layers // experts.every
        if not layers:
            raise UsageError(f"experts in every {experts.every}th of {shape.layers} layers: there is none")
        one = shape.width * shape.inner * shape.feed_forward_matrices
        routers = layers * shape.width * experts.count
        extra = layers * (experts.active - 1) * one + routers
        passed = 1 + layers * (experts.active - 1) / shape.layers
        return cls(plain + layers * (experts.count - 1) * one + routers, plain + extra, shape, extra, passed)

    def rule(self, tokens: float, *, recompute: bool = False) -> float:
        """6ND over the active weights; 8ND where the forward pass is done again on the way back."""
        return (8 if recompute else 6) * self.active * tokens

    def state(self, devices: int = 1, *, sharded: bool = False) -> float:
        """Bytes of weights, gradients and AdamW on each device."""
        if not sharded:
            return STATE * self.parameters
        layers = self.shape.layers + _behind(self.shape) if self.shape else 1
        gathered = 2 * self.parameters / layers  # one layer at a time, in 16 bits
        return STATE * self.parameters / devices + (gathered if devices > 1 else 0)

    def activations(self, tokens: int, *, recompute: bool = False) -> float | None:
        """Bytes kept for the way back of `tokens` at once, in 16 bits with fused attention (Korthikanti et al. 2022,
        section 4.1: 34 widths a layer at a feed-forward width of 4); a gated feed-forward network keeps four things of
        its width where a plain one keeps two. Recomputed, the input of every layer and one layer's own. Of an
        encoder-decoder, tokens that are read and as many that are written, whose cross-attention keeps what attention
        does. None without a shape."""
        if self.shape is None:
            return None
        inner = (8 if self.shape.feed_forward.gated else 4) * self.shape.inner * self.passed
        layer, across = 18 * self.shape.width + inner, 13 * self.shape.width
        read, written = self.shape.layers, _behind(self.shape)
        if recompute:
            kept = (read + written) * 2 * self.shape.width + layer + (across if written else 0)
        else:
            kept = read * layer + written * (layer + across)
        return float(tokens * kept)

    def checkpoint(self, *, to_go_on: bool = False) -> float:
        """Bytes on disk."""
        return (SAVED_TO_GO_ON if to_go_on else SAVED) * self.parameters


def _behind(shape: ModelConfig) -> int:
    """Layers of a decoder, where there is one."""
    return shape.decoder.layers if shape.decoder else 0


def best_tokens(active: float) -> float:
    """How many a model of so many weights should read, if FLOPs are what is scarce (Hoffmann et al. 2022)."""
    return TOKENS_A_WEIGHT * active


def best_parameters(flops: float) -> float:
    """The weights of the model that makes the most of so many FLOPs: C = 6N * 20N."""
    return math.sqrt(flops / (6 * TOKENS_A_WEIGHT))
