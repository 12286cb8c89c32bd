"""A small configuration of every family, as transformers has it, and the classes of its heads."""

from __future__ import annotations

from typing import Any

# Far from transformers' own values, so that a field that is ignored shows in the logits.
SMALL = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "id2label": {0: "a", 1: "b", 2: "c"},
    "label2id": {"a": 0, "b": 1, "c": 2},
}
CLASSIC = {**SMALL, "layer_norm_eps": 0.05}
MODERN = {
    **SMALL,
    "rms_norm_eps": 0.05,
    "num_key_value_heads": 2,
    "rope_parameters": {"rope_theta": 50.0, "rope_type": "default"},
}
MODERNBERT = {
    **SMALL,
    "norm_eps": 0.05,
    "num_hidden_layers": 3,
    "local_attention": 6,
    "layer_types": ["full_attention", "sliding_attention", "full_attention"],
    "rope_parameters": {
        "full_attention": {"rope_theta": 50.0, "rope_type": "default"},
        "sliding_attention": {"rope_theta": 20.0, "rope_type": "default"},
    },
}
UNCOMMON = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
}
DISTILLED = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
}
BART = {
    **{name: value for name, value in SMALL.items() if name in ("vocab_size", "pad_token_id", "bos_token_id")},
    "eos_token_id": 2,
    "d_model": 32,
    "max_position_embeddings": 40,
    "init_std": 0.3,
    "encoder_layers": 1,
    "decoder_layers": 2,
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 48),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
}
GEMMA = {
    **{name: value for name, value in SMALL.items() if "label" not in name},
    "rms_norm_eps": 0.05,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
    "hidden_activation": "silu",
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "rope_parameters": {"rope_theta": 50.0, "rope_type": "default"},
}
T5GEMMA = {
    "vocab_size": 61,
    "encoder": {**GEMMA, "layer_types": ["full_attention"]},
    "decoder": {**GEMMA, "num_hidden_layers": 2, "layer_types": ["full_attention"] * 2},
}
FAMILIES: dict[str, dict[str, Any]] = {
    "Bert": CLASSIC,
    "Roberta": {**CLASSIC, "type_vocab_size": 1},
    "XLMRoberta": {**CLASSIC, "type_vocab_size": 1},
    "Electra": {**CLASSIC, "embedding_size": 16},
    "EuroBert": {**MODERN, "mask_token_id": 4, "classifier_pooling": "mean"},
    "Llama": MODERN,
    "Mistral": {**MODERN, "sliding_window": 5},
    "Qwen2": MODERN,
    "Qwen3": {**MODERN, "head_dim": 8},
    "ModernBert": MODERNBERT | {"classifier_pooling": "mean"},
    "ModernBertDecoder": MODERNBERT,
    "GPT2": {
        **{name: value for name, value in SMALL.items() if name not in UNCOMMON},
        **{name: SMALL[usual] for usual, name in UNCOMMON.items()},
        "layer_norm_epsilon": 0.05,
    },
    "DistilBert": {
        **{name: value for name, value in SMALL.items() if name not in DISTILLED},
        **{name: SMALL[usual] for usual, name in DISTILLED.items()},
    },
    "Bart": BART,
    "BartDecoder": {**BART, "is_decoder": True, "is_encoder_decoder": False},
    "T5Gemma": T5GEMMA,
}
TWO_SIDED = ("Bart", "T5Gemma")
"""Encoder-decoders, which are walked as models that write."""
WORDS = dict.fromkeys(FAMILIES, "ForMaskedLM")
WORDS |= dict.fromkeys(("Llama", "Mistral", "Qwen2", "Qwen3", "ModernBertDecoder", "BartDecoder"), "ForCausalLM")
WORDS |= {"GPT2": "LMHeadModel"} | dict.fromkeys(TWO_SIDED, "ForConditionalGeneration")
HEADS = ("words", "SequenceClassification", "TokenClassification")
WITHOUT = {
    "ModernBertDecoder": ("TokenClassification",),
    **dict.fromkeys((*TWO_SIDED, "BartDecoder"), ("SequenceClassification", "TokenClassification")),
}
"""{family: heads that transformers has no class of, or that read with both sides}"""
CASES = [(family, head) for family in FAMILIES for head in HEADS if head not in WITHOUT.get(family, ())]


def theirs(family: str) -> str:
    """What the names of transformers' classes of it begin with."""
    return "Bart" if family == "BartDecoder" else family
