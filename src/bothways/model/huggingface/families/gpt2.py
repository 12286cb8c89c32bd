"""GPT-2 (Radford et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bothways.model.config import ModelConfig
from bothways.model.huggingface.family import UNUSUAL, Family, HeadShape


def _read(told: Mapping[str, Any]) -> dict[str, Any]:
    return {"inner": 4 * told["n_embd"] if told["n_inner"] is None else told["n_inner"]}


def _write(config: ModelConfig) -> dict[str, Any]:
    dropped = dict.fromkeys(("resid_pdrop", "embd_pdrop"), config.dropout)
    return {"n_inner": config.inner, "activation_function": "gelu_new", **dropped, "attn_pdrop": 0.0}


GPT2 = Family(
    model_type="gpt2",
    known="GPT-2, DistilGPT-2, Chinese GPT-2",
    parts={
        "positions": {"kind": "learned"},
        "norm": {"kind": "layer", "bias": True},
        "feed_forward": {"gated": False, "activation": "gelu_tanh", "bias": True},
        "attention": {"bias": "all"},
    },
    fields={
        "vocabulary": "vocab_size",
        "layers": "n_layer",
        "width": "n_embd",
        "heads": "n_head",
        "length": "n_positions",
        "init": "initializer_range",
        "norm.epsilon": "layer_norm_epsilon",
        "dropout": "resid_pdrop",
    },
    computed={"inner": "n_inner"},
    aliases={
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    },
    silent={
        "n_inner": None,  # four times the width
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-5,
        "resid_pdrop": 0.1,
        "activation_function": "gelu_new",
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
        "is_encoder_decoder": False,
    },
    only=UNUSUAL
    | {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (False, True),
    },
    read=_read,
    write=_write,
    direction=("is_causal", True),
    word_heads=("tied", "untied"),
    classes={
        "decoder": "GPT2LMHeadModel",
        "decoder-body": "GPT2Model",
        "decoder-classifier": "GPT2ForSequenceClassification",
        "decoder-tagger": "GPT2ForTokenClassification",
        "decoder-answerer": "GPT2ForQuestionAnswering",
    },
    prefix="transformer.",
    modules={
        "backbone.embeddings.tokens": "transformer.wte",
        "backbone.embeddings.positions": "transformer.wpe",
        "backbone.norm": "transformer.ln_f",
        "words.untied": "lm_head",
    },
    blocks="transformer.h",
    block={
        "attention_norm": "ln_1",
        "attention.qkv": "attn.c_attn",
        "attention.out": "attn.c_proj",
        "feed_forward_norm": "ln_2",
        "up": "mlp.c_fc",
        "down": "mlp.c_proj",
    },
    transposed=True,
    heads={"label": {"out": "score"}, "tags": {"out": "classifier"}, "span": {"out": "qa_outputs"}},
    tied={"lm_head.weight": "transformer.wte.weight"},
    ignored=(r"h\.\d+\.attn\.(masked_)?bias$",),
    labels={"decoder": HeadShape("last", bias=False)},
)
