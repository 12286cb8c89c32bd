"""A family of transformers as data: what its config.json means, what its weights and its classes are called.

A family is one file of `families/`. What would change a prediction and is not computed is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bothways.model.config import ModelConfig

Side = Literal["encoder", "decoder"]
BOTH_SIDES = ("encoder", "decoder")
"""What an encoder-decoder's config.json may hold a configuration each of."""


@dataclass(frozen=True, slots=True)
class Half:
    """One of our two matrices that a fused weight of transformers stacks: the first, or the second."""

    module: str
    second: bool


Names = dict[str, str | tuple[str, ...] | Half]
"""{our module: theirs}; several are laid one under the other in ours"""

UNUSUAL: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("sliding_window", "attention_chunk_size", "layer_types", "kv_sharing_modes"), (None,)),
    **dict.fromkeys(("text_config", "text_encoder", "decoder", "generator", "quantization_config"), (None,)),
    **dict.fromkeys(("per_layer_config", "pruned_heads"), (None, {})),
    "is_encoder_decoder": (False,),
    "is_causal": (None, False, True),  # see `config_json.from_left`
}
"""Fields of no class here that transformers reads in them all the same: the values that are computed."""


@dataclass(frozen=True, slots=True)
class HeadShape:
    """What stands between the states and the last matrix of a head, as transformers' class has it.

    pool        a text's state: its first, the mean of all, or its last
    activation  of a dense layer; None: there is none
    norm        behind the activation
    bias        of the last matrix
    """

    pool: Literal["first", "mean", "last"] = "first"
    activation: str | None = None
    norm: bool = False
    bias: bool = True


def nothing(given: Any) -> dict[str, Any]:
    """Where all is read and written as it stands."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A model_type of transformers.

    part        what of it this is, where there are several: BART's decoder alone
    known       published models of it
    parts       the records of `ModelConfig` in it, beside the sizes; what it leaves out is as there
    fields      {field of ModelConfig: its field in config.json}, which is read and written as it stands
    aliases     {field: the one that it is another name of}
    computed    {field of ModelConfig that `read` works out: the field in config.json that it comes from}
    silent      {field: what transformers takes where config.json has none}
    only        {field: the values of it that are computed}; every other is refused by name
    same        {field: the one that it must have the value of}
    read        the fields in config.json -> {dotted field of ModelConfig: value} of what is not read as it stands
    write       a configuration -> {field: value} of what is not written as it stands
    direction   the field that says how the body reads, and whether that is from left to right where it is silent
    segments    how many kinds of segments it may have
    word_heads  kinds of heads that predict tokens
    classes     {face: transformers' class of it}
    prefix      what stands before the names of the body under a head; a body saved alone goes without
    prefix_of_span  the same under the head for spans, where it is another
    modules     names outside the blocks, whole; of the body with its prefix
    blocks      what stands before the number of a block
    block       names in a block
    decoder_blocks, decoder_block  the same of an encoder-decoder's decoder
    heads       {head: its names}
    tied        {tensor of a word head: the one that it is where word embeddings are tied}
    copies      {tensor: the one that it repeats, whose weight is one of ours}
    constant    {tensor: the one number that it may hold}, of what we have no place for
    ignored     regular expressions of the beginnings of names in the body that carry nothing we use: BERT's pooler is
                trained for next sentences, the others are constants
    labels      {how the body reads: its head for labels}
    poolings    {a pooling of that head: its value of classifier_pooling}, where config.json chooses one
    tokens      its heads for tags and spans
    transposed  whether the matrices of blocks have inputs first
    positions   the row of the table of positions that is the first token's
    counted     whether config.json counts the rows before it, too
    norms       what is to be added to our weights of norms
    pad         the one token that may be padding; None: any
    mask        whether config.json names the token for [MASK]
    whole_heads whether transformers wants a width that is a multiple of the heads, whatever the width of a head
    """

    model_type: str
    known: str
    fields: dict[str, str]
    silent: dict[str, Any]
    only: dict[str, tuple[Any, ...]]
    classes: dict[str, str]
    prefix: str
    prefix_of_span: str | None = None
    modules: dict[str, str]
    blocks: str
    block: Names
    part: str = ""
    decoder_blocks: str = ""
    decoder_block: Names = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    constant: Mapping[str, float] = field(default_factory=dict)
    computed: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[Mapping[str, Any]], dict[str, Any]] = nothing
    write: Callable[[ModelConfig], dict[str, Any]] = nothing
    direction: tuple[Literal["is_decoder", "is_causal"], bool] = ("is_causal", False)
    segments: range = range(1)
    word_heads: tuple[str, ...] = ("transformed",)
    heads: dict[str, dict[str, str]] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = (r"rotary_emb\.", r"pooler\.", r"embeddings\.position_ids")
    labels: Mapping[Side, HeadShape] = field(default_factory=dict)
    poolings: Mapping[str, str] = field(default_factory=dict)
    tokens: HeadShape = HeadShape()
    transposed: bool = False
    positions: int = 0
    counted: bool = True
    norms: float = 0.0
    pad: int | None = None
    mask: bool = False
    whole_heads: bool = False

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return f"{self.model_type}-{self.part}" if self.part else self.model_type

    @property
    def encoder_decoder(self) -> bool:
        """Whether it is of encoder-decoders."""
        return bool(self.decoder_blocks)

    @property
    def nested(self) -> bool:
        """Whether each side has a configuration of its own in config.json."""
        return self.encoder_decoder and "." in self.fields["width"]

    def differs(self, config: ModelConfig) -> list[tuple[str, Any, Any]]:
        """(field of the configuration, its value here, the family's value), where it is another shape."""
        base = ModelConfig.model_validate({**_flat_sizes(config), **self.parts})
        free = {*self.fields, *self.computed, "init", "dropout", "word_head", "segments"}
        own, theirs = flat(config.model_dump()), flat(base.model_dump())
        names = [
            name
            for name in {**theirs, **own}
            if own.get(name) != theirs.get(name) and not any(f"{name}.".startswith(f"{one}.") for one in free)
        ]
        found = [(name, own.get(name), theirs.get(name)) for name in names]
        if config.segments not in self.segments:
            found.append(("segments", config.segments, self.segments[0]))
        return found


SIZES = ("vocabulary", "layers", "width", "heads", "inner", "length")


def _flat_sizes(config: ModelConfig) -> dict[str, Any]:
    # a width that its heads do not divide is one where the size of a head is given: not for the family to say
    return {name: getattr(config, name) for name in SIZES} | {"width": 64, "heads": 1}


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested records as one, with dotted names; a record that is not there stays None."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return found


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The other way round."""
    found: dict[str, Any] = {}
    for path, value in values.items():
        *groups, name = path.split(".")
        inner = found
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = value
    return found
