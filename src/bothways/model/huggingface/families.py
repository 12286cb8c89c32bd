"""What config.json means in each family that is loaded: its fields, what transformers takes where it is silent, and
the one value that our network has of the others. What would change a prediction and is not computed is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from bothways.errors import ModelError
from bothways.model.config import ModelConfig
from bothways.model.huggingface.weight_names import PREFIX, ROBERTA_FIRST, ROBERTA_PAD

SIZES = {
    "vocabulary": "vocab_size",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "length": "max_position_embeddings",
}
MODERN = SIZES | {"init": "initializer_range", "epsilon": "rms_norm_eps"}
CLASSIC = SIZES | {
    "init": "initializer_range",
    "epsilon": "layer_norm_eps",
    "dropout": "hidden_dropout_prob",
    "segments": "type_vocab_size",
}
"""{field of ModelConfig: its field in config.json}, read and written"""


@dataclass(frozen=True, slots=True)
class Family:
    """A model_type of transformers.

    names      the fields that are read as they stand
    silent     {field: what transformers takes where config.json has none}
    only       {field: the values of it that our network computes}; every other value is refused by name
    direction  the field that says how the body reads, and whether that is from left to right where it is silent
    labels     how its ...ForSequenceClassification reads where the head for labels is ours
    """

    names: dict[str, str]
    silent: Mapping[str, Any]
    only: Mapping[str, tuple[Any, ...]]
    direction: tuple[Literal["is_decoder", "is_causal"], bool]
    labels: Literal["encoder", "decoder"] = "encoder"


# Fields of none of these classes that transformers reads in them all the same, and one of its older versions'.
_STRANGE: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("sliding_window", "attention_chunk_size", "layer_types", "kv_sharing_modes"), (None,)),
    **dict.fromkeys(("text_config", "text_encoder", "decoder", "generator", "quantization_config"), (None,)),
    **dict.fromkeys(("per_layer_config", "pruned_heads"), (None, {})),
    "is_encoder_decoder": (False,),
    "is_causal": (None, False, True),  # see `from_left`
}
_BERT = Family(
    CLASSIC,
    {
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1,
        "type_vocab_size": 2,
        "is_encoder_decoder": False,
        "tie_word_embeddings": True,
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "add_cross_attention": False,
        "is_decoder": False,
        "pad_token_id": ROBERTA_PAD,  # read where it is RoBERTa's
    },
    _STRANGE
    | {
        "tie_word_embeddings": (True,),
        "hidden_act": ("gelu",),
        "position_embedding_type": ("absolute",),
        "add_cross_attention": (False,),
        "is_decoder": (False, True),
    },
    ("is_decoder", False),
)
_ROBERTA = Family(
    CLASSIC,
    _BERT.silent,
    {**_BERT.only, "pad_token_id": (ROBERTA_PAD,), "type_vocab_size": (1,)},
    ("is_decoder", False),
)
_LLAMA = Family(
    MODERN,
    {
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-6,
        "is_encoder_decoder": False,
        "tie_word_embeddings": False,
        "num_key_value_heads": None,  # as many as there are heads
        "head_dim": None,  # the width divided among them
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "token_classification_bias": True,
    },
    _STRANGE
    | {
        "tie_word_embeddings": (False, True),
        "hidden_act": ("silu",),
        "attention_bias": (False,),
        "mlp_bias": (False,),
        "token_classification_bias": (True,),
    },
    ("is_causal", True),
    labels="decoder",
)
FAMILIES = {
    "bert": _BERT,
    "electra": Family(
        CLASSIC | {"embedding_width": "embedding_size"},
        {**_BERT.silent, "embedding_size": 128},
        _BERT.only,
        ("is_decoder", False),
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "eurobert": Family(MODERN, {**_LLAMA.silent, "rms_norm_eps": 1e-5}, _LLAMA.only, ("is_causal", False)),
    "llama": _LLAMA,
    "qwen3": Family(
        MODERN,
        {**_LLAMA.silent, "num_key_value_heads": 32, "head_dim": 128, "use_sliding_window": False},
        {
            field: values for field, values in _LLAMA.only.items() if field != "sliding_window"
        }  # its width, if it is used
        | {"use_sliding_window": (False,)},
        ("is_causal", True),
        labels="decoder",
    ),
}


def family_of(values: Mapping[str, Any]) -> Family:
    """
    Raises:
        ModelError: a kind of model that is not ours.
    """
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise ModelError(f"config.json: model_type is {kind}; Bothways loads {', '.join(sorted(FAMILIES))}")
    return FAMILIES[kind]


def from_left(values: Mapping[str, Any]) -> bool:
    """Whether the body reads from left to right.

    transformers asks twice: for the mask, where false or null says that all is seen, and for the kernel that runs
    where no mask is needed, to which null says nothing. Without padding the second decides, with padding the first.

    Raises:
        ModelError: they contradict each other, so that the same text would be read in two ways.
    """
    field, usual = family_of(values).direction
    told = values.get("is_causal", True)
    usual = bool(values.get("is_decoder", usual)) if field == "is_decoder" else usual
    mask, kernel = usual and bool(told), usual if told is None or "is_causal" not in values else bool(told)
    if mask != kernel:
        raise ModelError(
            f"config.json: is_causal is {told!r}: transformers reads this model from left to right, but from all sides "
            f"where a text is padded. Set is_causal to {str(usual).lower()}, or leave it out."
        )
    return mask


def read_config(values: Mapping[str, Any], *, words: bool) -> ModelConfig:
    """The shape that a config.json describes; `words`: a word head of its own is among the weights.

    Raises:
        ModelError: a kind of model that is not ours, or a variant of it; the field is named.
    """
    family = family_of(values)
    told = _understood(values, family)
    from_left(values)
    for ours, theirs in SIZES.items():
        if theirs not in told:
            raise ModelError(f"config.json: {theirs} is missing")
        if not isinstance(told[theirs], int) or told[theirs] < 1:
            raise ModelError(f"config.json: {theirs} ({ours}): expected a whole number above 0, got {told[theirs]!r}")
    read = {ours: told[theirs] for ours, theirs in family.names.items()}
    read |= (_modern if PREFIX[told["model_type"]] == "model." else _classic)(told, words=words)
    if PREFIX[told["model_type"]] == "roberta.":
        read["length"] -= ROBERTA_FIRST
    try:
        return ModelConfig(**read)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            fields = "hidden_size, num_attention_heads, num_key_value_heads and head_dim"
            message = first["msg"].removeprefix("Value error, ")
            raise ModelError(f"config.json: {fields} do not fit: {message}") from None
        field = ".".join(map(str, first["loc"]))
        theirs = (family.names | _COMPUTED).get(field, field)
        raise ModelError(f"config.json: {theirs} ({field}): {first['msg']}, got {first['input']!r}") from None


def sizes(values: Mapping[str, Any]) -> str:
    """What config.json says of the sizes of tensors, field by field."""
    told = {**family_of(values).silent, **values}
    fields = (*SIZES.values(), "embedding_size", "type_vocab_size", "num_key_value_heads", "head_dim")
    said = [f"{field} {told[field]}" for field in fields if field in told]
    if class_of(values).endswith("Classification"):
        said.append(f"{len(labels_of(values))} labels by {'num_labels' if 'num_labels' in values else 'id2label'}")
    return ", ".join(said)


def _understood(values: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """Every field that is read, with what transformers takes where config.json is silent."""
    told = {**family.silent, **values}
    kinds = told.get("layer_types")
    if isinstance(kinds, list) and all(kind == "full_attention" for kind in kinds):
        told["layer_types"] = None
    for field, computed in family.only.items():
        if told.get(field) not in computed:
            only = " or ".join(repr(value) for value in computed)
            raise ModelError(
                f"config.json: {field} is {told.get(field)!r}; Bothways loads this kind of model with {only} only"
            )
    return told


def _classic(told: Mapping[str, Any], *, words: bool) -> dict[str, Any]:
    return {"shape": "classic", "word_head": "transformed" if words else "tied"}


def _modern(told: Mapping[str, Any], *, words: bool) -> dict[str, Any]:
    body = class_of(told).endswith("Model")
    heads, width, qwen = told["num_attention_heads"], told["hidden_size"], told["model_type"] == "qwen3"
    key_heads = heads if told["num_key_value_heads"] is None else told["num_key_value_heads"]
    head_size = width // heads if told["head_dim"] is None else told["head_dim"]
    return {
        "shape": "modern",
        **_read_rotary(told),
        "key_heads": None if key_heads == heads else key_heads,
        "head_size": None if head_size * heads == width else head_size,
        "head_norm": qwen,
        "word_head": "tied" if told["tie_word_embeddings"] or (body and not words) else "untied",
    }


def class_of(values: Mapping[str, Any]) -> str:
    """The transformers class that config.json names; empty where it names none.

    Raises:
        ModelError: what should name it is no list of names.
    """
    named = values.get("architectures") or [""]
    if not isinstance(named, list) or not isinstance(named[0], str):
        raise ModelError(f"config.json: architectures: expected a list with the name of a class, got {named!r}")
    return named[0]


def labels_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels by number; transformers' own names where config.json has none, or num_labels another number of them.

    Raises:
        ModelError: they cannot be read.
    """
    named, count = values.get("id2label"), values.get("num_labels")
    if not isinstance(count, int | None) or not isinstance(named, dict | None):
        raise ModelError(
            f"config.json: expected id2label as an object and num_labels as a number, got {named!r}, {count!r}"
        )
    if named is None or count not in (None, len(named)):
        named = {i: f"LABEL_{i}" for i in range(2 if count is None else count)}
    try:
        return tuple(str(named[number]) for number in sorted(named, key=int))
    except ValueError:
        raise ModelError(f"config.json: expected id2label as {{number: label}}, got {named!r}") from None


_LLAMA3 = {
    "factor": "factor",
    "low": "low_freq_factor",
    "high": "high_freq_factor",
    "length": "original_max_position_embeddings",
}
"""{field of RotaryScaling: its name in config.json}"""
_COMPUTED = {
    "key_heads": "num_key_value_heads",
    "head_size": "head_dim",
    "rotary_base": "rope_theta",
    **{f"rotary_scaling.{ours}": theirs for ours, theirs in _LLAMA3.items()},
}
"""As `Family.names`, of the fields that are not read as they stand."""


def rotary_json(config: ModelConfig) -> dict[str, Any]:
    """rope_parameters."""
    scaling = config.rotary_scaling
    if scaling is None:
        return {"rope_theta": config.rotary_base, "rope_type": "default"}
    found = {theirs: getattr(scaling, ours) for ours, theirs in _LLAMA3.items()}
    return {"rope_theta": config.rotary_base, "rope_type": "llama3", **found}


def _read_rotary(told: Mapping[str, Any]) -> dict[str, Any]:
    """rope_scaling, where it says anything, stands for the whole of rope_parameters; rope_theta and
    partial_rotary_factor beside them are for what they leave open.

    Raises:
        ModelError: a kind of scaling that is not ours, or something that it does not take.
    """
    field = "rope_scaling" if told.get("rope_scaling") else "rope_parameters"
    rope = told.get(field) or {}
    if not isinstance(rope, dict):
        raise ModelError(f"config.json: {field}: expected an object, got {rope!r}")
    beside = {name: told[name] for name in ("rope_theta", "partial_rotary_factor") if name in told}
    rope = {"rope_theta": 10_000.0, **beside, **rope}
    kind = rope.pop("rope_type", rope.pop("type", "default"))
    rope.pop("type", None)
    if kind not in ("default", "llama3"):
        raise ModelError(f"config.json: {field}: rope_type is {kind!r}; Bothways loads 'default' and 'llama3'")
    if kind == "llama3":
        rope.setdefault("original_max_position_embeddings", told["max_position_embeddings"])
    computed = {"rope_theta", *(_LLAMA3.values() if kind == "llama3" else ())}
    if rope.pop("partial_rotary_factor", None) not in (None, 1.0):
        raise ModelError(f"config.json: partial_rotary_factor in {field}: Bothways turns the whole of a head")
    if odd := sorted(name for name in rope.keys() - computed if rope[name] is not None):
        raise ModelError(f"config.json: {field}: {odd[0]} is no part of rope_type {kind!r}")
    if missing := sorted(computed - rope.keys()):
        raise ModelError(f"config.json: {field}: {missing[0]} is missing, which rope_type {kind!r} needs")
    scaling = {ours: rope[theirs] for ours, theirs in _LLAMA3.items()} if kind == "llama3" else None
    return {"rotary_base": rope["rope_theta"], "rotary_scaling": scaling}
