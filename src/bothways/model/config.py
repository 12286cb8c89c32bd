"""The one Transformer as a record of records, its four presets, and what a token costs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from bothways.config import Frozen
from bothways.errors import UsageError, unknown

HEAD_WIDTH = 64  # heads of 32 are half as fast on every processor measured (docs/decisions.md)


class RotaryScaling(Frozen):
    """Slow rotary angles made slower still, so that a model reads further than it was first trained to.

    linear  Chen et al. 2023
    llama3  Llama 3.1
    yarn    Peng et al. 2023, section 3.2
    """

    kind: Literal["linear", "llama3", "yarn"] = Field(
        default="llama3",
        description="linear: every angle is divided by `factor`; llama3: one that turns fewer than `low` times within "
        "`length` tokens is divided, one that turns more than `high` times is left alone, between them smoothly; yarn: "
        "the same, but between by the number of the frequency",
    )
    factor: float = Field(ge=1, description="what slow angles are divided by")
    low: float = Field(default=1.0, gt=0, description="turns")
    high: float = Field(default=4.0, gt=0, description="turns")
    length: int = Field(default=8192, ge=1, description="the tokens that the model was first trained to read")
    whole: bool = Field(default=True, description="yarn: between whole numbers of frequencies")
    weight: float = Field(default=1.0, gt=0, description="yarn: what cosine and sine are multiplied by")


class PositionConfig(Frozen):
    """How a token knows its place: by turning queries and keys (RoFormer, Su et al. 2021), or by a table."""

    kind: Literal["rotary", "learned"] = Field(default="rotary", description="turned queries and keys, or a table")
    base: float = Field(default=10_000.0, gt=0, description="of the rotary angles")
    local_base: float | None = Field(default=None, gt=0, description="of blocks with a window, where another (rotary)")
    scaling: RotaryScaling | None = None


class NormConfig(Frozen):
    """Root mean square or layer norms, before what a block adds to the states (and once at the end), or after it."""

    kind: Literal["rms", "layer"] = Field(default="rms", description="root mean square, or mean and variance")
    place: Literal["before", "after", "both"] = Field(
        default="before", description="of what a block adds to the states; both: after it too, before it is added"
    )
    embeddings: bool = Field(default=False, description="of the embeddings too; a first block then has none before it")
    bias: bool = Field(default=False, description="added to a layer norm")
    epsilon: float = Field(default=1e-6, description="under the root")


class FeedForwardConfig(Frozen):
    """Two matrices with an activation between them, or three with a gate (Shazeer 2020)."""

    gated: bool = Field(default=True, description="three matrices instead of two")
    activation: Literal["silu", "gelu", "gelu_tanh"] = Field(default="silu", description="between the matrices")
    bias: bool = Field(default=False, description="added to each product")


class AttentionConfig(Frozen):
    """What heads there are beside those of queries, and which blocks see their neighbourhood only."""

    key_heads: int | None = Field(default=None, ge=1, description="heads of keys and values, where fewer")
    head_size: int | None = Field(default=None, ge=2, description="width of a head where it is not width / heads")
    head_norm: bool = Field(default=False, description="a norm over each head's queries and keys (Qwen3)")
    bias: Literal["none", "qkv", "all"] = Field(default="none", description="added to these products")
    window: int | None = Field(default=None, ge=1, description="a local block sees so many tokens on either side")
    global_every: int = Field(
        default=3, ge=0, description="with a window: block 0 and every so-manieth see all; 0: none"
    )


class DecoderConfig(Frozen):
    """A second stack, which reads what it writes, and by cross-attention the states of the first (Vaswani et al. 2017):
    its blocks are as those of the first, with cross-attention between attention and feed-forward network."""

    layers: int = Field(ge=1, description="blocks")


CLASSIC: dict[str, dict[str, Any]] = {
    "positions": {"kind": "learned"},
    "norm": {"kind": "layer", "place": "after", "embeddings": True, "bias": True},
    "feed_forward": {"gated": False, "activation": "gelu", "bias": True},
    "attention": {"bias": "all"},
}
Shape = Literal["modern", "classic"]
SHAPES: dict[str, dict[str, dict[str, Any]]] = {"modern": {}, "classic": CLASSIC}
"""{name: what it has otherwise than `ModelConfig` by default}; `ModelConfig(shape=name, ...)` takes one.

modern   pre-norm RMSNorm, rotary positions, SwiGLU, no biases, tied head (Llama, Touvron et al. 2023): what Bothways
         pretrains
classic  post-norm LayerNorm, learned positions, biases, GELU (BERT, Devlin et al. 2019), so that papers reproduce
"""


WITH_DECODER: dict[str, dict[str, Any]] = {
    "modern": {"norm": NormConfig(place="both"), "scaled_embeddings": True},
    "classic": {"norm": {"epsilon": 1e-5}},
}
"""{shape: what an encoder-decoder of it has otherwise}: transformers' one such class with rotary positions is T5Gemma
(Zhang et al. 2025), that with norms after what is added is BART (Lewis et al. 2020)."""


class ModelConfig(Frozen):
    """One Transformer: its sizes, and what each of its parts is like. `shape` names a set of parts, see `SHAPES`."""

    vocabulary: int = Field(ge=8, description="tokens; those of the shards")
    layers: int = Field(ge=1, description="blocks")
    width: int = Field(ge=8, description="of a token's state")
    heads: int = Field(ge=1, description="of attention; 64 wide in the sizes")
    inner: int = Field(ge=8, description="width of the feed-forward layer")
    length: int = Field(default=512, ge=8, description="the longest text the model is meant for, in tokens")
    positions: PositionConfig = Field(default=PositionConfig(), description="rotary or learned")
    norm: NormConfig = Field(default=NormConfig(), description="its kind and its place")
    feed_forward: FeedForwardConfig = Field(default=FeedForwardConfig(), description="of each block")
    attention: AttentionConfig = Field(default=AttentionConfig(), description="key heads, biases, windows")
    decoder: DecoderConfig | None = Field(default=None, description="of an encoder-decoder, beside this encoder")
    init: float = Field(default=0.02, ge=0.0, le=1.0, description="standard deviation of the initial weights")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="share of the states that are dropped in training")
    segments: int = Field(default=0, ge=0, description="embeddings: 0 (modern), 2 (BERT), 1 (RoBERTa)")
    languages: int = Field(default=0, ge=0, description="embeddings of languages (XLM), beside those of segments")
    scaled_embeddings: bool = Field(default=False, description="those of tokens are multiplied by sqrt(width)")
    embedding_width: int | None = Field(
        default=None, ge=1, description="ELECTRA's embeddings, projected to another width"
    )
    word_head: Literal["tied", "untied", "transformed"] = Field(
        default="tied", description="the embeddings again, weights of its own, or the embeddings behind a dense layer"
    )
    shape: Shape | None = Field(
        default=None, exclude=True, description="a name for the four records, which then need not be given"
    )

    @model_validator(mode="before")
    @classmethod
    def _of_shape(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("shape") not in SHAPES:
            return values
        given = {name: value for name, value in values.items() if name != "shape"}
        for name, parts in SHAPES[values["shape"]].items():
            own = given.get(name, {})
            given[name] = parts | (own.model_dump() if isinstance(own, BaseModel) else own)
        return given

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        own = self.attention
        if (own.head_size is None and self.width % self.heads) or self.head_width % 2:
            raise ValueError(
                f"width must be a multiple of heads with an even head width, got width {self.width}, heads {self.heads}"
            )
        if self.heads % (own.key_heads or self.heads):
            raise ValueError(f"heads must be a multiple of key_heads, got {self.heads} and {own.key_heads}")
        if self.norm.kind == "rms" and self.norm.bias:
            raise ValueError("norm.bias: a root mean square norm has none")
        return self

    @property
    def classic(self) -> bool:
        """Whether norms come after, as in BERT; then its heads, too, are as BERT's."""
        return self.norm.place == "after"

    @property
    def head_width(self) -> int:
        """Numbers of a head."""
        return self.attention.head_size or self.width // self.heads

    @property
    def key_heads(self) -> int:
        """Heads of keys and values."""
        return self.attention.key_heads or self.heads

    @property
    def qkv_widths(self) -> tuple[int, int, int]:
        """Of the queries, the keys and the values of a token."""
        keys = self.key_heads * self.head_width
        return self.heads * self.head_width, keys, keys

    def window(self, block: int) -> int | None:
        """How many tokens on either side a block sees; None: all."""
        own = self.attention
        return own.window if not own.global_every or block % own.global_every else None

    @property
    def feed_forward_matrices(self) -> int:
        """Of width by inner, in a block."""
        return 3 if self.feed_forward.gated else 2

    @property
    def body_parameters(self) -> int:
        """Weights of the blocks (matrices only): what a token is multiplied with, head and embeddings apart."""
        return self.layers * self._block_parameters + self.decoder_parameters

    @property
    def least_parameters(self) -> int:
        """All matrices: those of the blocks and the tables."""
        places = self.length if self.positions.kind == "learned" else 0
        rows = self.vocabulary + places + self.segments + self.languages
        return self.body_parameters + rows * (self.embedding_width or self.width)

    @property
    def decoder_parameters(self) -> int:
        """Those of the blocks of a decoder, where there is one."""
        own = 0 if self.decoder is None else self.decoder.layers
        return own * (self._block_parameters + self._attention_parameters)

    @property
    def _attention_parameters(self) -> int:
        return self.width * (sum(self.qkv_widths) + self.heads * self.head_width)

    @property
    def _block_parameters(self) -> int:
        return self._attention_parameters + self.width * self.feed_forward_matrices * self.inner

    @property
    def _head_parameters(self) -> int:
        """Of the matrices between a state and its logits."""
        narrow = self.width if self.word_head == "untied" else self.embedding_width or self.width
        return narrow * self.vocabulary + (self.width * narrow if self.word_head == "transformed" else 0)

    def flops_per_token(self, *, length: float, predicted: float) -> float:
        """FLOPs of training on a token: matrix products forward (2 a weight), and backward twice that.

        Attention over `length` keys is counted in full (what the dense kernel does), the vocabulary head only at the
        share `predicted` of the tokens; embedding lookups, norms and activations are free. The last block is counted
        whole too, though it is computed only where its state is read (`Model.states_at`). Of an encoder-decoder, a
        token of the encoder.
        """
        body = 2 * self.layers * self._block_parameters
        attention = 4 * self.layers * self.heads * self.head_width * length
        return 3 * (body + attention + 2 * predicted * self._head_parameters)

    def decoder_flops(self, *, read: int, written: int, predicted: float) -> float:
        """FLOPs of training a decoder that writes so many tokens after a source of `read`, counted in the same way;
        keys and values of cross-attention are products over the source."""
        layers, heads = 0 if self.decoder is None else self.decoder.layers, self.heads * self.head_width
        across = 2 * self.width * (sum(self.qkv_widths) - heads) * layers
        own = 2 * self.decoder_parameters * written - across * written + across * read
        attention = 4 * layers * heads * written * (written + read)
        return 3 * (own + attention + 2 * predicted * self._head_parameters)


def swiglu_inner(width: int) -> int:
    """SwiGLU width with as many weights as a 4x GELU layer: 8/3 of the width, to a multiple of 16."""
    return round(width * 8 / 3 / 16) * 16


SIZES: dict[str, tuple[int, int]] = {"tiny": (4, 128), "mini": (12, 256), "small": (12, 512), "base": (12, 768)}
"""name: (layers, width); heads are 64 wide."""


def preset(size: str, *, vocabulary: int, length: int = 512, shape: Shape = "modern") -> ModelConfig:
    """The modern shape, or another of `SHAPES`, at one of four sizes, or of so many layers and such a width: "6x192";
    of an encoder-decoder the layers of both: "6-6x256".

    Raises:
        UsageError: the size is not known, it has no layers, or the width is no multiple of the heads'.
    """
    own = re.fullmatch(r"([1-9]\d*)(?:-([1-9]\d*))?x([1-9]\d*)", size)
    if own is None and re.fullmatch(r"[\d-]*x\d*", size):
        raise UsageError(f"size {size}: expected one layer or more and a width, as 6x192, or 6-6x192 with a decoder")
    if size not in SIZES and own is None:
        raise unknown("size", size, [*SIZES, "LAYERSxWIDTH", "LAYERS-LAYERSxWIDTH"])
    layers, width = SIZES[size] if own is None else (int(own[1]), int(own[3]))
    if width % HEAD_WIDTH:
        raise UsageError(f"size {size}: heads are {HEAD_WIDTH} wide, so the width is a multiple of it")
    return ModelConfig(
        vocabulary=vocabulary,
        layers=layers,
        width=width,
        heads=width // HEAD_WIDTH,
        inner=4 * width if shape == "classic" else swiglu_inner(width),
        length=length,
        init=spread(width),
        **(WITH_DECODER[shape] if own and own[2] else {}),
        decoder=DecoderConfig(layers=int(own[2])) if own and own[2] else None,
        shape=shape,
    )


def spread(width: int) -> float:
    """Standard deviation of the initial weights, sqrt(2 / (5 width)) (Nguyen & Salazar 2019).

    BERT's 0.02 is too little for narrow models: their attention stays even for long (docs/results.md).
    """
    return float((2 / (5 * width)) ** 0.5)
