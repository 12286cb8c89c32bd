"""DistilBERT (Sanh et al. 2019): BERT's blocks without segments and without a pooler."""

from __future__ import annotations

from bothways.model.config import CLASSIC
from bothways.model.huggingface.families.bert import WITH_CLASSIFIER, modules
from bothways.model.huggingface.family import UNUSUAL, Family, HeadShape

DISTILBERT = Family(
    model_type="distilbert",
    known="DistilBERT",
    parts={**CLASSIC, "norm": {**CLASSIC["norm"], "epsilon": 1e-12}},
    fields={
        "vocabulary": "vocab_size",
        "layers": "n_layers",
        "width": "dim",
        "heads": "n_heads",
        "inner": "hidden_dim",
        "length": "max_position_embeddings",
        "init": "initializer_range",
        "dropout": "dropout",
    },
    aliases={"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"},
    silent={
        "initializer_range": 0.02,
        "dropout": 0.1,
        "activation": "gelu",
        "tie_word_embeddings": True,
        "is_encoder_decoder": False,
        "is_decoder": False,
        "add_cross_attention": False,
    },
    only=UNUSUAL
    | {
        "activation": ("gelu",),
        "tie_word_embeddings": (True,),
        "is_decoder": (False,),
        "add_cross_attention": (False,),
        "is_causal": (None, False, True),
    },
    write=lambda config: {"activation": "gelu", "attention_dropout": 0.0, "sinusoidal_pos_embds": False},
    classes={
        "encoder": "DistilBertForMaskedLM",
        "body": "DistilBertModel",
        "classifier": "DistilBertForSequenceClassification",
        "tagger": "DistilBertForTokenClassification",
        "answerer": "DistilBertForQuestionAnswering",
    },
    prefix="distilbert.",
    modules={
        **{ours: name for ours, name in modules("distilbert.").items() if not ours.endswith("segments")},
        "words.transform.dense": "vocab_transform",
        "words.transform.norm": "vocab_layer_norm",
        "words": "vocab_projector",
    },
    blocks="distilbert.transformer.layer",
    block={
        "attention.qkv": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        "attention.out": "attention.out_lin",
        "attention_norm": "sa_layer_norm",
        "up": "ffn.lin1",
        "down": "ffn.lin2",
        "feed_forward_norm": "output_layer_norm",
    },
    heads=WITH_CLASSIFIER | {"label": {"transform.dense": "pre_classifier", "out": "classifier"}},
    tied={"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"},
    labels={"encoder": HeadShape(activation="relu")},
)
