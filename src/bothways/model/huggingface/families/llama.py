"""Llama (Touvron et al. 2023): what Bothways pretrains, read from left to right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bothways.model.config import ModelConfig
from bothways.model.huggingface.families.bert import SIZES
from bothways.model.huggingface.family import UNUSUAL, Family, HeadShape
from bothways.model.huggingface.rotary import read_rotary, rotary_json


def read(told: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary positions, and heads of keys and widths of heads where they are not the usual ones."""
    heads, width = told["num_attention_heads"], told["hidden_size"]
    key_heads = heads if told["num_key_value_heads"] is None else told["num_key_value_heads"]
    head_size = width // heads if told["head_dim"] is None else told["head_dim"]
    return {
        **read_rotary(told),
        "attention.key_heads": None if key_heads == heads else key_heads,
        "attention.head_size": None if head_size * heads == width else head_size,
    }


def write(config: ModelConfig) -> dict[str, Any]:
    """The other way round."""
    return {
        "num_key_value_heads": config.key_heads,
        "head_dim": config.head_width,
        "hidden_act": "silu",
        "rope_parameters": rotary_json(config.positions),
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
    }


LLAMA = Family(
    model_type="llama",
    known="Llama 1 to 3, SmolLM2, TinyLlama; what Bothways pretrains, causal",
    fields=SIZES | {"init": "initializer_range", "norm.epsilon": "rms_norm_eps"},
    computed={
        "attention.key_heads": "num_key_value_heads",
        "attention.head_size": "head_dim",
        "positions.base": "rope_theta",
        "positions.scaling": "rope_parameters",
    },
    silent={
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
    only=UNUSUAL
    | {
        "tie_word_embeddings": (False, True),
        "hidden_act": ("silu",),
        "attention_bias": (False,),
        "mlp_bias": (False,),
        "token_classification_bias": (True,),
    },
    read=read,
    write=write,
    direction=("is_causal", True),
    word_heads=("tied", "untied"),
    classes={
        "decoder": "LlamaForCausalLM",
        "decoder-body": "LlamaModel",
        "answerer": "LlamaForQuestionAnswering",
        "decoder-answerer": "LlamaForQuestionAnswering",
        "decoder-classifier": "LlamaForSequenceClassification",
        "decoder-tagger": "LlamaForTokenClassification",
    },
    prefix="model.",
    prefix_of_span="transformer.",
    modules={
        "backbone.embeddings.tokens": "model.embed_tokens",
        "backbone.norm": "model.norm",
        "words.untied": "lm_head",
    },
    blocks="model.layers",
    block={
        "attention_norm": "input_layernorm",
        "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attention.query_norm": "self_attn.q_norm",
        "attention.key_norm": "self_attn.k_norm",
        "attention.out": "self_attn.o_proj",
        "feed_forward_norm": "post_attention_layernorm",
        "gate": "mlp.gate_proj",
        "up": "mlp.up_proj",
        "down": "mlp.down_proj",
    },
    heads={"label": {"out": "score"}, "tags": {"out": "score"}, "span": {"out": "qa_outputs"}},
    tied={"lm_head.weight": "model.embed_tokens.weight"},
    labels={"decoder": HeadShape("last", bias=False)},
    whole_heads=True,
)
