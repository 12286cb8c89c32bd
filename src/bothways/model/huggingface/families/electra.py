"""ELECTRA (Clark et al. 2020): BERT's body, whose embeddings may have a width of their own."""

from __future__ import annotations

from dataclasses import replace

from bothways.model.huggingface.families.bert import BERT, ROBERTA, modules
from bothways.model.huggingface.family import HeadShape

ELECTRA = replace(
    BERT,
    model_type="electra",
    known="ELECTRA, generators and discriminators; Chinese ELECTRA",
    fields={**BERT.fields, "embedding_width": "embedding_size"},
    silent={**BERT.silent, "embedding_size": 128},
    write=lambda config: BERT.write(config) | {"embedding_size": config.embedding_width or config.width},
    segments=range(1, 1000),
    classes={
        face: name.replace("BertLMHeadModel", "BertForCausalLM").replace("Bert", "Electra")
        for face, name in BERT.classes.items()
    }
    | {"detector": "ElectraForPreTraining"},
    prefix="electra.",
    modules=modules("electra.")
    | {
        "backbone.embeddings.project": "electra.embeddings_project",
        "words.transform.dense": "generator_predictions.dense",
        "words.transform.norm": "generator_predictions.LayerNorm",
        "words": "generator_lm_head",
    },
    blocks="electra.encoder.layer",
    heads={
        **ROBERTA.heads,
        "replaced": {
            "transform.dense": "discriminator_predictions.dense",
            "logit": "discriminator_predictions.dense_prediction",
        },
    },
    tied={"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"},
    labels={"encoder": HeadShape(activation="gelu")},
)
