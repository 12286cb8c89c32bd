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
}
WORDS = dict.fromkeys(FAMILIES, "ForMaskedLM")
WORDS |= dict.fromkeys(("Llama", "Mistral", "Qwen2", "Qwen3", "ModernBertDecoder"), "ForCausalLM") | {
    "GPT2": "LMHeadModel"
}
HEADS = ("words", "SequenceClassification", "TokenClassification")
CASES = [
    (family, head)
    for family in FAMILIES
    for head in HEADS
    if family != "ModernBertDecoder" or head in ("words", "SequenceClassification")
]
