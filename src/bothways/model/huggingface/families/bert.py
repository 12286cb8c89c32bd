"""BERT (Devlin et al. 2019), and what its relatives share with it."""

from __future__ import annotations

from dataclasses import replace

from bothways.model.config import CLASSIC
from bothways.model.huggingface.family import UNUSUAL, Family, HeadShape

NORMS = {"norm.epsilon": "layer_norm_eps", "dropout": "hidden_dropout_prob", "init": "initializer_range"}
SIZES = {
    "vocabulary": "vocab_size",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "length": "max_position_embeddings",
}


def modules(prefix: str) -> dict[str, str]:
    """The names of BERT's embeddings."""
    return {
        "backbone.embeddings.tokens": f"{prefix}embeddings.word_embeddings",
        "backbone.embeddings.positions": f"{prefix}embeddings.position_embeddings",
        "backbone.embeddings.segments": f"{prefix}embeddings.token_type_embeddings",
        "backbone.embeddings.norm": f"{prefix}embeddings.LayerNorm",
    }


WITH_CLASSIFIER = {"tags": {"out": "classifier"}, "span": {"out": "qa_outputs"}}

BERT = Family(
    model_type="bert",
    known="BERT, Chinese BERT and its whole-word variants, MiniLM, BGE, GTE, SciBERT, BioBERT",
    parts=CLASSIC,
    fields=SIZES | NORMS | {"segments": "type_vocab_size"},
    silent={
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
    },
    only=UNUSUAL
    | {
        "tie_word_embeddings": (True,),
        "hidden_act": ("gelu",),
        "position_embedding_type": ("absolute",),
        "add_cross_attention": (False,),
        "is_decoder": (False, True),
    },
    write=lambda config: {"hidden_act": "gelu", "attention_probs_dropout_prob": 0.0},
    direction=("is_decoder", False),
    segments=range(2, 1000),
    classes={
        "encoder": "BertForMaskedLM",
        "decoder": "BertLMHeadModel",
        "body": "BertModel",
        "decoder-body": "BertModel",
        "classifier": "BertForSequenceClassification",
        "tagger": "BertForTokenClassification",
        "answerer": "BertForQuestionAnswering",
        "decoder-tagger": "BertForTokenClassification",
        "decoder-answerer": "BertForQuestionAnswering",
    },
    prefix="bert.",
    modules=modules("bert.")
    | {
        "words.transform.dense": "cls.predictions.transform.dense",
        "words.transform.norm": "cls.predictions.transform.LayerNorm",
        "words": "cls.predictions",
    },
    blocks="bert.encoder.layer",
    block={
        "attention.qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
        "attention.out": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "feed_forward_norm": "output.LayerNorm",
    },
    heads=WITH_CLASSIFIER | {"label": {"transform.dense": "bert.pooler.dense", "out": "classifier"}},
    tied={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    labels={"encoder": HeadShape(activation="tanh")},
)

ROBERTA = replace(
    BERT,
    model_type="roberta",
    known="RoBERTa, DistilRoBERTa",
    silent=BERT.silent | {"pad_token_id": 1},
    only={**BERT.only, "pad_token_id": (1,), "type_vocab_size": (1,)},
    segments=range(1, 2),
    positions=2,
    pad=1,
    classes={
        face: name.replace("BertLMHeadModel", "BertForCausalLM").replace("Bert", "Roberta")
        for face, name in BERT.classes.items()
    },
    prefix="roberta.",
    modules=modules("roberta.")
    | {"words.transform.dense": "lm_head.dense", "words.transform.norm": "lm_head.layer_norm", "words": "lm_head"},
    blocks="roberta.encoder.layer",
    heads=WITH_CLASSIFIER | {"label": {"transform.dense": "classifier.dense", "out": "classifier.out_proj"}},
    tied={
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
)
XLM_ROBERTA = replace(ROBERTA, model_type="xlm-roberta", known="XLM-RoBERTa, multilingual E5, BGE-M3")
