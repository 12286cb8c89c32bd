"""What a saved model can be asked, and the config.json that makes transformers see it that way.

The modern shape has two faces over one set of weights: EuroBERT (Boizard et al. 2025) reads from all sides, Llama
(Touvron et al. 2023) from left to right; their parameters have the same names and only config.json differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from bothways.batch import Vocabulary
from bothways.errors import ModelError, unknown
from bothways.model.abilities import Abilities, Face, Side, TaskHead
from bothways.model.config import ModelConfig
from bothways.model.huggingface.families import FAMILIES, class_of, family_of, from_left, labels_of, rotary_json
from bothways.model.huggingface.weight_names import ROBERTA_FIRST, ROBERTA_PAD, kind_of, text_ids

SAYS_WORDS = ("encoder", "decoder")

_ARCHITECTURES: dict[tuple[str, Face], tuple[str, str]] = {
    ("llama", "encoder"): ("eurobert", "EuroBertForMaskedLM"),
    ("llama", "decoder"): ("llama", "LlamaForCausalLM"),
    ("llama", "detector"): ("eurobert", "EuroBertForTokenClassification"),
    ("llama", "body"): ("eurobert", "EuroBertModel"),
    ("llama", "decoder-body"): ("llama", "LlamaModel"),
    ("llama", "classifier"): ("eurobert", "EuroBertForSequenceClassification"),
    ("llama", "tagger"): ("eurobert", "EuroBertForTokenClassification"),
    ("llama", "answerer"): ("llama", "LlamaForQuestionAnswering"),
    ("llama", "decoder-answerer"): ("llama", "LlamaForQuestionAnswering"),
    ("llama", "decoder-classifier"): ("llama", "LlamaForSequenceClassification"),
    ("llama", "decoder-tagger"): ("llama", "LlamaForTokenClassification"),
    ("qwen3", "decoder"): ("qwen3", "Qwen3ForCausalLM"),
    ("qwen3", "body"): ("qwen3", "Qwen3Model"),
    ("qwen3", "decoder-body"): ("qwen3", "Qwen3Model"),
    ("qwen3", "decoder-classifier"): ("qwen3", "Qwen3ForSequenceClassification"),
    ("qwen3", "decoder-tagger"): ("qwen3", "Qwen3ForTokenClassification"),
    ("qwen3", "decoder-answerer"): ("qwen3", "Qwen3ForQuestionAnswering"),
    ("roberta", "encoder"): ("roberta", "RobertaForMaskedLM"),
    ("roberta", "decoder"): ("roberta", "RobertaForCausalLM"),
    ("roberta", "body"): ("roberta", "RobertaModel"),
    ("roberta", "decoder-body"): ("roberta", "RobertaModel"),
    ("roberta", "classifier"): ("roberta", "RobertaForSequenceClassification"),
    ("roberta", "tagger"): ("roberta", "RobertaForTokenClassification"),
    ("roberta", "answerer"): ("roberta", "RobertaForQuestionAnswering"),
    ("roberta", "decoder-tagger"): ("roberta", "RobertaForTokenClassification"),
    ("roberta", "decoder-answerer"): ("roberta", "RobertaForQuestionAnswering"),
    ("bert", "encoder"): ("bert", "BertForMaskedLM"),
    ("bert", "decoder"): ("bert", "BertLMHeadModel"),
    ("bert", "detector"): ("electra", "ElectraForPreTraining"),
    ("bert", "body"): ("bert", "BertModel"),
    ("bert", "decoder-body"): ("bert", "BertModel"),
    ("bert", "classifier"): ("bert", "BertForSequenceClassification"),
    ("bert", "tagger"): ("bert", "BertForTokenClassification"),
    ("bert", "answerer"): ("bert", "BertForQuestionAnswering"),
    ("bert", "decoder-tagger"): ("bert", "BertForTokenClassification"),
    ("bert", "decoder-answerer"): ("bert", "BertForQuestionAnswering"),
    ("electra", "encoder"): ("electra", "ElectraForMaskedLM"),
    ("electra", "decoder"): ("electra", "ElectraForCausalLM"),
    ("electra", "detector"): ("electra", "ElectraForPreTraining"),
    ("electra", "body"): ("electra", "ElectraModel"),
    ("electra", "decoder-body"): ("electra", "ElectraModel"),
    ("electra", "classifier"): ("electra", "ElectraForSequenceClassification"),
    ("electra", "tagger"): ("electra", "ElectraForTokenClassification"),
    ("electra", "answerer"): ("electra", "ElectraForQuestionAnswering"),
    ("electra", "decoder-tagger"): ("electra", "ElectraForTokenClassification"),
    ("electra", "decoder-answerer"): ("electra", "ElectraForQuestionAnswering"),
}


def guessed(values: Mapping[str, Any], *, words: bool) -> Abilities:
    """What the model of a folder that others wrote can do: by its config.json, and whether it predicts tokens.

    Raises:
        ModelError: a head that reads or pools in a way that is not ours.
    """
    kind, left = class_of(values), from_left(values)
    if (head := _head_of(values, kind, left=left)) is not None:
        return Abilities.of_heads(head)
    if kind == "ElectraForPreTraining":
        if left:
            raise _reads_otherwise(values, kind, left=left)
        return Abilities("", ("encoder",), None, {"detect": 0})
    next_word = kind.endswith(("CausalLM", "LMHeadModel"))  # by its loss, whatever it reads
    if left:
        return (
            Abilities("", ("decoder",), None) if words or next_word else Abilities("", (), None, reads="left to right")
        )
    return Abilities("", ("encoder",), "before" if next_word else "in place" if words else None)


def architecture(config: ModelConfig, face: str) -> tuple[str, str]:
    """Hugging Face's (model_type, class) for a face of this shape.

    Raises:
        UsageError: an unknown face.
        ModelError: a shape that Hugging Face does not have; worth asking before a run is started.
    """
    found = {name: value for (kind, name), value in _ARCHITECTURES.items() if kind == kind_of(config)}
    if face not in get_args(Face):
        raise unknown("face", face, found)
    if face not in found:
        raise ModelError(f"Hugging Face has no {face} of {kind_of(config)}'s shape; it has: {', '.join(sorted(found))}")
    if config.shape == "modern" and config.segments:
        raise ModelError(
            "the modern shape with segments cannot be saved: EuroBERT and Llama have none. Set segments to 0."
        )
    if config.shape == "classic" and not config.segments:
        raise ModelError("the classic shape without segments cannot be saved: BERT always has them. Set segments to 2.")
    if found[face][0] in ("llama", "eurobert") and config.width % config.heads:
        raise ModelError(
            f"a {found[face][0]} of width {config.width} and {config.heads} heads cannot be saved: transformers wants "
            "the width to be a multiple of the heads, whatever the width of a head"
        )
    if config.shape == "classic" and face in SAYS_WORDS and config.word_head == "tied":
        raise ModelError("BERT's word head is a transformed one: set word_head to transformed, not tied")
    return found[face]


def config_json(
    config: ModelConfig, *, vocabulary: Vocabulary, face: str, head: TaskHead | None = None
) -> dict[str, Any]:
    """The config.json of one face; of a fine-tuned model, with what its head predicts.

    Raises:
        ModelError: the shape has no such face, or its table is too small for the vocabulary.
    """
    kind, name = architecture(config, face)
    if config.vocabulary < vocabulary.size:
        raise ModelError(
            f"the tokenizer has {vocabulary.size} tokens, the model {config.vocabulary}: they do not belong together"
        )
    if kind == "roberta" and vocabulary.pad != ROBERTA_PAD:
        raise ModelError(
            f"RoBERTa's padding is token {ROBERTA_PAD}, this tokenizer's is {vocabulary.pad}, and the classic shape "
            "with one segment is RoBERTa's: it cannot be saved. Set segments to 2."
        )
    shared = {
        "architectures": [name],
        "model_type": kind,
        "dtype": "float32",
        **{theirs: getattr(config, ours) for ours, theirs in FAMILIES[kind].names.items()},
        "max_position_embeddings": config.length + (ROBERTA_FIRST if kind == "roberta" else 0),
        "tie_word_embeddings": config.word_head != "untied",
        **({"id2label": {"0": "original", "1": "replaced"}} if face == "detector" else {}),
        **(_head_json(head) if head else {}),
        **text_ids(vocabulary),
    }
    if config.shape == "classic":
        return shared | {
            **({"embedding_size": config.embedding_width or config.width} if kind == "electra" else {}),
            "hidden_act": "gelu",
            "attention_probs_dropout_prob": 0.0,
            "is_decoder": face.startswith("decoder"),
        }
    return shared | {
        **({"is_causal": False} if face == "answerer" or (kind, face) == ("qwen3", "body") else {}),  # all sides
        **({"mask_token_id": vocabulary.mask} if kind == "eurobert" and vocabulary.mask >= 0 else {}),
        **({"use_sliding_window": False} if kind == "qwen3" else {}),
        "num_key_value_heads": config.key_heads or config.heads,
        "head_dim": config.head_width,
        "hidden_act": "silu",
        "rope_parameters": rotary_json(config),
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
    }


_PROBLEMS = {
    "one": "single_label_classification",
    "several": "multi_label_classification",
    "number": "regression",
    "choice": "regression",  # one number a choice; transformers has no softmax over texts
}


def _head_json(head: TaskHead) -> dict[str, Any]:
    return {
        "id2label": {str(number): label for number, label in enumerate(head.labels)},
        "label2id": {label: number for number, label in enumerate(head.labels)},
        **({"problem_type": _PROBLEMS[head.kind]} if head.head == "label" else {}),
        **({"classifier_pooling": "mean"} if head.face == "classifier" else {}),  # EuroBERT's
    }


_HEADS: dict[str, tuple[str, Literal["label", "tags", "span"]]] = {
    "ForSequenceClassification": ("classify", "label"),
    "ForTokenClassification": ("tag", "tags"),
    "ForQuestionAnswering": ("answer", "span"),
}
"""{what the name of a transformers class ends in: the task, and the head}."""


def _head_of(values: Mapping[str, Any], kind: str, *, left: bool) -> TaskHead | None:
    """What a model that others fine-tuned says; None: it was not, or in a way that is not ours.

    Raises:
        ModelError: it reads or pools in a way that is not ours, or its labels cannot be read.
    """
    ending = next((ending for ending in _HEADS if kind.endswith(ending)), None)
    if ending is None:
        return None
    task, head = _HEADS[ending]
    reads: Side = "decoder" if left else "encoder"
    labels, problem = labels_of(values), values.get("problem_type")
    if problem not in (None, "single_label_classification", "multi_label_classification", "regression"):
        raise ModelError(
            f"config.json: problem_type is {problem!r}; expected {', '.join(sorted({*_PROBLEMS.values()}))}"
        )
    if head == "span":
        return TaskHead(task, head, labels if len(labels) == 2 else ("start", "end"), "span", reads)
    if head == "tags":
        return TaskHead(task, head, labels, "one", reads)
    if reads != family_of(values).labels:
        raise _reads_otherwise(values, kind, left=left)
    pooling = values.get("classifier_pooling", "late")
    if kind.startswith("EuroBert") and pooling != "mean":
        raise ModelError(
            f"config.json: classifier_pooling is {pooling!r}; Bothways loads this kind of model with 'mean' only"
        )
    if problem == "multi_label_classification":
        return TaskHead(task, head, labels, "several", reads)
    if len(labels) == 1:
        return TaskHead("regress", head, labels, "number", reads)
    if problem == "regression":
        raise ModelError(f"config.json: problem_type is 'regression' of {len(labels)} numbers; Bothways loads one only")
    return TaskHead(task, head, labels, "one", reads)


def _reads_otherwise(values: Mapping[str, Any], kind: str, *, left: bool) -> ModelError:
    field, _ = family_of(values).direction
    reads = "from left to right" if left else "from all sides"
    return ModelError(
        f"config.json: {field} is {values.get(field)!r}, so that this {kind} reads {reads}; Bothways has no such head "
        f"for a body that does"
    )
