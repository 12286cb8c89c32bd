"""ModernBERT's network read from left to right: Ettin's decoders (Weller et al. 2025)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from bothways.model.huggingface.families.modernbert import MODERNBERT, read, write
from bothways.model.huggingface.family import HeadShape

MODERNBERT_DECODER = replace(
    MODERNBERT,
    model_type="modernbert-decoder",
    known="Ettin decoders",
    only={**MODERNBERT.only, "is_causal": (None, True)},  # a window would reach one token further
    read=partial(read, inside=1),
    write=partial(write, inside=1),
    direction=("is_causal", True),
    classes={
        "decoder": "ModernBertDecoderForCausalLM",
        "decoder-body": "ModernBertDecoderModel",
        "decoder-classifier": "ModernBertDecoderForSequenceClassification",
    },
    modules={
        **MODERNBERT.modules,
        "words.transform.dense": "lm_head.dense",
        "words.transform.norm": "lm_head.norm",
    },
    block={**MODERNBERT.block, "attention.qkv": ("attn.q_proj", "attn.k_proj", "attn.v_proj")},
    labels={"decoder": HeadShape("last", activation="gelu", norm=True, bias=False)},
    poolings={},
)
