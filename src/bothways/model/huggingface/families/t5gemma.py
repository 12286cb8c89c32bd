"""T5Gemma (Zhang et al. 2025) without its caps on logits: rotary positions and gated networks in an encoder-decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bothways.model.config import WITH_DECODER, ModelConfig
from bothways.model.huggingface.families import llama
from bothways.model.huggingface.families.bert import SIZES
from bothways.model.huggingface.family import BOTH_SIDES, UNUSUAL, Family, Names
from bothways.model.huggingface.rotary import rotary_json

BLOCK: Names = {
    "attention_norm": "pre_self_attn_layernorm",
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": "self_attn.o_proj",
    "attention_after_norm": "post_self_attn_layernorm",
    "feed_forward_norm": "pre_feedforward_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "feed_forward_after_norm": "post_feedforward_layernorm",
}
ACROSS: Names = {
    "cross_attention_norm": "pre_cross_attn_layernorm",
    "cross_attention.q": "cross_attn.q_proj",
    "cross_attention.kv": ("cross_attn.k_proj", "cross_attn.v_proj"),
    "cross_attention.out": "cross_attn.o_proj",
    "cross_attention_after_norm": "post_cross_attn_layernorm",
}
_FIELDS = {ours: f"encoder.{theirs}" for ours, theirs in SIZES.items()}
_SILENT: dict[str, Any] = {
    "vocab_size": 256000,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 8192,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-6,
    "hidden_activation": "gelu_pytorch_tanh",
    "attention_bias": False,
    "query_pre_attn_scalar": 256,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
    "layer_types": "sliding and full in turn",
    "rope_parameters": None,
}
_SAME = {name for name in _SILENT if name not in ("layer_types", "final_logit_softcapping")}


def _both(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{side}.{name}": value for side in BOTH_SIDES for name, value in values.items()}


def _read(told: Mapping[str, Any]) -> dict[str, Any]:
    return llama.read({name.removeprefix("encoder."): value for name, value in told.items()})


def _write(config: ModelConfig) -> dict[str, Any]:
    assert config.decoder is not None
    values = {
        "num_key_value_heads": config.key_heads,
        "head_dim": config.head_width,
        "query_pre_attn_scalar": config.head_width,
        "hidden_activation": "silu",
        "rope_parameters": rotary_json(config.positions),
        "attention_bias": False,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "sliding_window": config.length,  # no block has one, and it must be a number
    }
    layers = {"encoder": config.layers, "decoder": config.decoder.layers}
    types = {f"{side}.layer_types": ["full_attention"] * count for side, count in layers.items()}
    return {"vocab_size": config.vocabulary, "is_encoder_decoder": True, **_both(values), **types}


T5GEMMA = Family(
    model_type="t5gemma",
    known="none; what Bothways trains of the modern shape to write text from text",
    parts={**WITH_DECODER["modern"], "norm": {"place": "both"}, "decoder": {"layers": 1}},
    fields=_FIELDS
    | {
        "decoder.layers": "decoder.num_hidden_layers",
        "dropout": "dropout_rate",
        "init": "encoder.initializer_range",
        "norm.epsilon": "encoder.rms_norm_eps",
    },
    computed={
        "attention.key_heads": "encoder.num_key_value_heads",
        "attention.head_size": "encoder.head_dim",
        "positions.base": "encoder.rope_theta",
        "positions.scaling": "encoder.rope_parameters",
    },
    same={
        **{f"decoder.{name}": f"encoder.{name}" for name in _SAME},
        "encoder.query_pre_attn_scalar": "encoder.head_dim",
    },
    silent={
        **_both(_SILENT),
        "decoder.num_hidden_layers": 26,
        "decoder.is_causal": True,
        "dropout_rate": 0.0,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
    },
    only=UNUSUAL
    | {
        "is_encoder_decoder": (True,),
        "per_layer_config": (None,),
        "tie_word_embeddings": (True,),
        **_both({"hidden_activation": ("silu",), "attention_bias": (False,), "attn_logit_softcapping": (None,)}),
        "decoder.final_logit_softcapping": (None,),
        "decoder.is_causal": (True,),
        **_both({"layer_types": (None,)}),
    },
    read=_read,
    write=_write,
    word_heads=("tied",),
    classes={"seq2seq": "T5GemmaForConditionalGeneration"},
    prefix="model.",
    modules={
        "backbone.embeddings.tokens": "model.encoder.embed_tokens",
        "backbone.norm": "model.encoder.norm",
        "decoder.norm": "model.decoder.norm",
    },
    blocks="model.encoder.layers",
    block=BLOCK,
    decoder_blocks="model.decoder.layers",
    decoder_block=BLOCK | ACROSS,
    tied={"lm_head.out_proj.weight": "model.encoder.embed_tokens.weight"},
    copies={"model.decoder.embed_tokens.weight": "model.encoder.embed_tokens.weight"},
    norms=-1.0,
    whole_heads=True,
)
