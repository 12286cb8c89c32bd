"""The shape of the one Transformer, its four presets, and what a token costs."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bothways.errors import UsageError, unknown

HEAD_WIDTH = 64  # heads of 32 are half as fast on every processor measured (docs/decisions.md)


class RotaryScaling(BaseModel):
    """Slow rotary angles made slower still, so that a model reads further than it was first trained to (Llama 3.1).

    An angle that turns fewer than `low` times within `length` tokens is divided by `factor`, one that turns more than
    `high` times is left alone, and those between go over smoothly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: float = Field(ge=1)
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    length: int = Field(ge=1)


class ModelConfig(BaseModel):
    """One Transformer in two shapes.

    modern   pre-norm RMSNorm, rotary positions, SwiGLU, no biases, tied head (Llama, Touvron et al. 2023): what
             Bothways pretrains
    classic  post-norm LayerNorm, learned positions, segments, biases, GELU (BERT, Devlin et al. 2019): so that
             published checkpoints load and papers reproduce
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: int = Field(ge=8)
    layers: int = Field(ge=1)
    width: int = Field(ge=8)
    heads: int = Field(ge=1)
    inner: int = Field(ge=8, description="width of the feed-forward layer")
    length: int = Field(default=512, ge=8, description="the longest text the model is meant for, in tokens")
    shape: Literal["modern", "classic"] = "modern"
    rotary_base: float = 10_000.0
    rotary_scaling: RotaryScaling | None = None
    key_heads: int | None = Field(default=None, ge=1, description="heads of keys and values, where fewer")
    head_size: int | None = Field(default=None, ge=2, description="width of a head where it is not width / heads")
    head_norm: bool = Field(default=False, description="a norm over each head's queries and keys (Qwen3)")
    epsilon: float = 1e-6
    init: float = Field(default=0.02, ge=0.0, le=1.0, description="standard deviation of the initial weights")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    segments: int = Field(default=0, ge=0, description="embeddings: 0 (modern), 2 (BERT), 1 (RoBERTa)")
    languages: int = Field(default=0, ge=0, description="embeddings of languages (XLM), beside those of segments")
    embedding_width: int | None = Field(default=None, description="ELECTRA's embeddings, projected to another width")
    word_head: Literal["tied", "untied", "transformed"] = "tied"

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        if (self.head_size is None and self.width % self.heads) or self.head_width % 2:
            raise ValueError(
                f"width must be a multiple of heads with an even head width, got width {self.width}, heads {self.heads}"
            )
        if self.heads % (self.key_heads or self.heads):
            raise ValueError(f"heads must be a multiple of key_heads, got {self.heads} and {self.key_heads}")
        others = [name for name in ("rotary_scaling", "key_heads", "head_size", "head_norm") if getattr(self, name)]
        if self.shape == "classic" and others:
            raise ValueError(f"{others[0]} belongs to the modern shape")
        if self.shape == "modern" and (self.embedding_width or self.word_head == "transformed"):
            raise ValueError("embedding_width and a transformed word head belong to the classic shape")
        if self.shape == "classic" and self.word_head == "untied":
            raise ValueError("an untied word head belongs to the modern shape")
        return self

    @property
    def head_width(self) -> int:
        return self.head_size or self.width // self.heads

    @property
    def qkv_widths(self) -> tuple[int, int, int]:
        """Of the queries, the keys and the values of a token."""
        keys = (self.key_heads or self.heads) * self.head_width
        return self.heads * self.head_width, keys, keys

    @property
    def body_parameters(self) -> int:
        """Weights of the blocks (matrices only): what a token is multiplied with, head and embeddings apart."""
        feed_forward = 3 if self.shape == "modern" else 2
        attention = sum(self.qkv_widths) + self.heads * self.head_width
        return self.layers * self.width * (attention + feed_forward * self.inner)

    def flops_per_token(self, *, length: float, predicted: float, training: bool = True) -> float:
        """FLOPs a token: matrix products forward (2 a weight), and backward twice that when training.

        Attention over `length` keys is counted in full (what the dense kernel does), the vocabulary head only at the
        share `predicted` of the tokens; embedding lookups, norms and activations are free. The last block is counted
        whole too, though it is computed only where its state is read (`Model.states_at`).
        """
        body = 2 * self.body_parameters
        attention = 4 * self.layers * self.heads * self.head_width * length
        head = 2 * predicted * self.width * self.vocabulary
        return (3 if training else 1) * (body + attention + head)


def swiglu_inner(width: int) -> int:
    """SwiGLU width with as many weights as a 4x GELU layer: 8/3 of the width, to a multiple of 16."""
    return round(width * 8 / 3 / 16) * 16


SIZES: dict[str, tuple[int, int]] = {"tiny": (4, 128), "mini": (12, 256), "small": (12, 512), "base": (12, 768)}
"""name: (layers, width); heads are 64 wide."""


def preset(size: str, *, vocabulary: int, length: int = 512) -> ModelConfig:
    """The modern shape at one of four sizes, or of so many layers and such a width: "6x192".

    Raises:
        UsageError: the size is not known, it has no layers, or the width is no multiple of the heads'.
    """
    own = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", size)
    if own is None and re.fullmatch(r"\d*x\d*", size):
        raise UsageError(f"size {size}: expected one layer or more and a width, as 6x192")
    if size not in SIZES and own is None:
        raise unknown("size", size, [*SIZES, "LAYERSxWIDTH"])
    layers, width = SIZES[size] if own is None else map(int, own.groups())
    if width % HEAD_WIDTH:
        raise UsageError(f"size {size}: heads are {HEAD_WIDTH} wide, so the width is a multiple of it")
    return ModelConfig(
        vocabulary=vocabulary,
        layers=layers,
        width=width,
        heads=width // HEAD_WIDTH,
        inner=swiglu_inner(width),
        length=length,
        init=spread(width),
    )


def spread(width: int) -> float:
    """Standard deviation of the initial weights, sqrt(2 / (5 width)) (Nguyen & Salazar 2019).

    BERT's 0.02 is too little for narrow models: their attention stays even for long (docs/results.md).
    """
    return float((2 / (5 * width)) ** 0.5)
