"""ModernBERT (Warner et al. 2024); Ettin's encoders (Weller et al. 2025) and mmBERT are of this family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bothways.errors import ModelError
from bothways.model.config import ModelConfig
from bothways.model.huggingface.families.bert import SIZES
from bothways.model.huggingface.family import UNUSUAL, Family, Half, HeadShape

KINDS = {"full_attention": 160_000.0, "sliding_attention": 10_000.0}
"""{a kind of block: the base of its rotary positions where config.json is silent}"""
OLD = {"full_attention": "global_rope_theta", "sliding_attention": "local_rope_theta"}
ONE = {
    **dict.fromkeys(("hidden_activation", "classifier_activation"), "gelu"),
    **dict.fromkeys(("norm_bias", "attention_bias", "mlp_bias", "classifier_bias"), False),
    **dict.fromkeys(("decoder_bias", "tie_word_embeddings"), True),
}
"""{field: the one value of it that is computed, which transformers takes where config.json is silent, too}"""


def read(told: Mapping[str, Any], *, inside: int = 0) -> dict[str, Any]:
    """A window is half of `local_attention` on either side; `inside`: with the token itself, as a decoder counts."""
    every = _every(told)
    local = told["local_attention"]
    if not isinstance(local, int) or local < 2:
        raise ModelError(f"config.json: local_attention: expected a whole number from 2 on, got {local!r}")
    half = told.get("sliding_window", local // 2)
    if not isinstance(half, int) or half < 1 + inside:
        raise ModelError(f"config.json: sliding_window: expected a whole number from {1 + inside} on, got {half!r}")
    bases = {kind: _base(told, kind) for kind in KINDS}
    return {
        "positions.base": bases["full_attention"],
        "positions.local_base": bases["sliding_attention"] if every > 1 else None,
        "attention.window": half - inside if every > 1 else None,
        "attention.global_every": every,
    }


def _every(told: Mapping[str, Any]) -> int:
    """Which blocks see all: the first, and every so-manieth."""
    count, every = told["num_hidden_layers"], told["global_attn_every_n_layers"]
    if not isinstance(every, int) or every < 1:
        raise ModelError(f"config.json: global_attn_every_n_layers: expected a whole number above 0, got {every!r}")
    kinds = told.get("layer_types")
    if kinds is None:
        return every
    for every in range(1, count + 1) if isinstance(kinds, list) and len(kinds) == count else ():
        if kinds == [_kind(block, every) for block in range(count)]:
            return every
    raise ModelError(
        f"config.json: layer_types is {kinds!r}, num_hidden_layers is {count}; Bothways loads this kind of model with "
        f"one of {list(KINDS)} a layer, where the first and every so-manieth are full_attention"
    )


def _kind(block: int, every: int) -> str:
    return "sliding_attention" if block % every else "full_attention"


def _base(told: Mapping[str, Any], kind: str) -> Any:
    if told.get("rope_scaling"):
        raise ModelError("config.json: rope_scaling: Bothways loads this kind of model without")
    rope = told.get("rope_parameters") or {}
    if (
        not isinstance(rope, dict)
        or rope.keys() - KINDS.keys()
        or not all(isinstance(one, dict) for one in rope.values())
    ):
        raise ModelError(f"config.json: rope_parameters: expected {' and '.join(KINDS)}, got {rope!r}")
    own = {"rope_type": "default", "rope_theta": told.get(OLD[kind], KINDS[kind]), **(rope.get(kind) or {})}
    if own["rope_type"] != "default" or own.keys() - {"rope_type", "rope_theta"}:
        raise ModelError(f"config.json: rope_parameters of {kind} is {own!r}; Bothways loads rope_type 'default' only")
    return own["rope_theta"]


def write(config: ModelConfig, *, inside: int = 0) -> dict[str, Any]:
    """The other way round."""
    own, places = config.attention, config.positions
    bases = {"full_attention": places.base, "sliding_attention": places.local_base or places.base}
    every = own.global_every if own.window else 1
    return {
        **ONE,
        "local_attention": 2 * (own.window + inside) if own.window else 128,
        "global_attn_every_n_layers": every,
        "layer_types": [_kind(block, every) for block in range(config.layers)],
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
    }


HEAD = {"transform.dense": "head.dense", "transform.norm": "head.norm", "out": "classifier"}

MODERNBERT = Family(
    model_type="modernbert",
    known="ModernBERT, Ettin encoders, mmBERT",
    parts={"norm": {"kind": "layer", "embeddings": True}, "feed_forward": {"activation": "gelu"}},
    fields=SIZES | {"init": "initializer_range", "norm.epsilon": "norm_eps"},
    computed={
        "positions.base": "rope_parameters",
        "positions.local_base": "rope_parameters",
        "attention.window": "local_attention",
        "attention.global_every": "global_attn_every_n_layers",
    },
    silent={
        "initializer_range": 0.02,
        "norm_eps": 1e-5,
        "local_attention": 128,
        "global_attn_every_n_layers": 3,
        "classifier_pooling": "cls",
        "is_encoder_decoder": False,
        **ONE,
    },
    only={field: values for field, values in UNUSUAL.items() if field not in ("layer_types", "sliding_window")}
    | {"head_dim": (None,), **{field: (value,) for field, value in ONE.items()}},
    read=read,
    write=write,
    direction=("is_causal", False),
    classes={
        "encoder": "ModernBertForMaskedLM",
        "body": "ModernBertModel",
        "classifier": "ModernBertForSequenceClassification",
        "tagger": "ModernBertForTokenClassification",
        "answerer": "ModernBertForQuestionAnswering",
    },
    prefix="model.",
    modules={
        "backbone.embeddings.tokens": "model.embeddings.tok_embeddings",
        "backbone.embeddings.norm": "model.embeddings.norm",
        "backbone.norm": "model.final_norm",
        "words.transform.dense": "head.dense",
        "words.transform.norm": "head.norm",
        "words": "decoder",
    },
    blocks="model.layers",
    block={
        "attention_norm": "attn_norm",
        "attention.qkv": "attn.Wqkv",
        "attention.out": "attn.Wo",
        "feed_forward_norm": "mlp_norm",
        "gate": Half("mlp.Wi", second=False),
        "up": Half("mlp.Wi", second=True),
        "down": "mlp.Wo",
    },
    heads={"label": HEAD, "tags": HEAD, "span": HEAD},
    tied={"decoder.weight": "model.embeddings.tok_embeddings.weight"},
    labels={"encoder": HeadShape("mean", activation="gelu", norm=True)},
    poolings={"first": "cls", "mean": "mean"},
    tokens=HeadShape(activation="gelu", norm=True),
)
