"""EuroBERT (Boizard et al. 2025): Llama's network read from all sides, and what Bothways pretrains is saved as."""

from __future__ import annotations

from dataclasses import replace

from bothways.model.huggingface.families.llama import LLAMA
from bothways.model.huggingface.family import HeadShape

EUROBERT = replace(
    LLAMA,
    model_type="eurobert",
    known="EuroBERT; what Bothways pretrains, bidirectional",
    silent={**LLAMA.silent, "rms_norm_eps": 1e-5},
    direction=("is_causal", False),
    classes={
        "encoder": "EuroBertForMaskedLM",
        "detector": "EuroBertForTokenClassification",
        "body": "EuroBertModel",
        "classifier": "EuroBertForSequenceClassification",
        "tagger": "EuroBertForTokenClassification",
    },
    heads={
        "label": {"transform.dense": "dense", "out": "classifier"},
        "tags": {"out": "classifier"},
        "span": {"out": "qa_outputs"},
        "replaced": {"logit": "difference"},  # of the classifier's two rows
    },
    labels={"encoder": HeadShape("mean", activation="gelu")},
    poolings={"mean": "mean"},
    mask=True,
)
