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
from bothways.model.huggingface.config_json import class_of, from_left, labels_of, written_config
from bothways.model.huggingface.families import family_for, family_of
from bothways.model.huggingface.family import BOTH_SIDES, Family

PREDICTS_TOKENS = ("encoder", "decoder", "seq2seq")


def guessed(values: Mapping[str, Any], *, words: bool) -> Abilities:
    """What the model of a folder that others wrote can do: by its config.json, and whether it predicts tokens.

    Raises:
        ModelError: a head that reads or pools in a way that is not ours.
    """
    kind, left = class_of(values), from_left(values)
    if family_of(values).encoder_decoder:
        if kind and not kind.endswith(("ForConditionalGeneration", "Model")):
            raise ModelError(
                f"config.json: is_encoder_decoder is {values.get('is_encoder_decoder', True)!r}, so that this {kind} "
                "reads its text on both sides; of encoder-decoders Bothways loads those that write: "
                "ForConditionalGeneration"
            )
        return Abilities(decoding={"seq2seq": 0}, reads="all sides")
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
    if face not in get_args(Face):
        raise unknown("face", face, get_args(Face))
    family = family_for(config, face)
    if family.whole_heads and config.width % config.heads:
        raise ModelError(
            f"a {family.model_type} of width {config.width} and {config.heads} heads cannot be saved: transformers "
            "wants the width to be a multiple of the heads, whatever the width of a head"
        )
    if face in PREDICTS_TOKENS and config.word_head not in family.word_heads:
        raise ModelError(
            f"{family.model_type}'s word head is {' or '.join(family.word_heads)}, not {config.word_head}: set "
            f"word_head to {family.word_heads[0]}"
        )
    return family.model_type, family.classes[face]


def config_json(
    config: ModelConfig, *, vocabulary: Vocabulary, face: str, head: TaskHead | None = None
) -> dict[str, Any]:
    """The config.json of one face; of a fine-tuned model, with what its head predicts.

    Raises:
        ModelError: the shape has no such face, or its table is too small for the vocabulary.
    """
    kind, name = architecture(config, face)
    family = family_for(config, face)
    if config.vocabulary < vocabulary.size:
        raise ModelError(
            f"the tokenizer has {vocabulary.size} tokens, the model {config.vocabulary}: they do not belong together"
        )
    if family.pad not in (None, vocabulary.pad):
        raise ModelError(
            f"{kind}'s padding is token {family.pad}, this tokenizer's is {vocabulary.pad}, and a shape with "
            f"segments {config.segments} is {kind}'s: it cannot be saved. Set segments to 2."
        )
    field, left = family.direction
    reads_left, ids = face.startswith("decoder"), text_ids(vocabulary)
    direction: dict[str, Any] = {} if field == "is_causal" and left == reads_left else {field: reads_left}
    shape = written_config(config, family)
    if face == "seq2seq":
        ids |= begin(vocabulary)
        # A side that has a configuration of its own asks it for padding, and for the token that it begins with.
        shape |= {
            side: {**shape[side], **ids, "bos_token_id": vocabulary.start[0]} for side in BOTH_SIDES if side in shape
        }
    return {
        "architectures": [name],
        "model_type": kind,
        "dtype": "float32",
        **shape,
        **direction,
        **({"mask_token_id": vocabulary.mask} if family.mask and vocabulary.mask >= 0 else {}),
        **({"id2label": {"0": "original", "1": "replaced"}} if face == "detector" else {}),
        **(_head_json(head, family) if head and head.labels else {}),
        **ids,
    }


_PROBLEMS = {
    "one": "single_label_classification",
    "several": "multi_label_classification",
    "number": "regression",
    "relevance": "multi_label_classification",  # of one label: binary cross-entropy
    "choice": "regression",  # one number a choice; transformers has no softmax over texts
}


def _head_json(head: TaskHead, family: Family) -> dict[str, Any]:
    shape = family.labels.get(head.reads)
    pooling = family.poolings.get(head.pooling or (shape.pool if shape else "")) if head.head == "label" else None
    return {
        "id2label": {str(number): label for number, label in enumerate(head.labels)},
        "label2id": {label: number for number, label in enumerate(head.labels)},
        **({"problem_type": _PROBLEMS[head.kind]} if head.head == "label" else {}),
        **({"classifier_pooling": pooling} if pooling else {}),
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
    if reads not in family_of(values).labels:
        raise _reads_otherwise(values, kind, left=left)
    pooling = _pooling(values)
    if problem == "multi_label_classification":
        return TaskHead(task, head, labels, "several", reads, pooling=pooling)
    if len(labels) == 1:
        return TaskHead("regress", head, labels, "number", reads, pooling=pooling)
    if problem == "regression":
        raise ModelError(f"config.json: problem_type is 'regression' of {len(labels)} numbers; Bothways loads one only")
    return TaskHead(task, head, labels, "one", reads, pooling=pooling)


def _pooling(values: Mapping[str, Any]) -> str:
    """How a text's state is made, where config.json chooses; else as the family has it: empty."""
    family = family_of(values)
    if not family.poolings:
        return ""
    told = values.get("classifier_pooling", family.silent.get("classifier_pooling"))
    for ours, theirs in family.poolings.items():
        if theirs == told:
            return ours
    known = " or ".join(map(repr, family.poolings.values()))
    raise ModelError(
        f"config.json: classifier_pooling is {told!r}; Bothways loads this kind of model with {known} only"
    )


def _reads_otherwise(values: Mapping[str, Any], kind: str, *, left: bool) -> ModelError:
    field, _ = family_of(values).direction
    reads = "from left to right" if left else "from all sides"
    return ModelError(
        f"config.json: {field} is {values.get(field)!r}, so that this {kind} reads {reads}; Bothways has no such head "
        f"for a body that does"
    )


def begin(vocabulary: Vocabulary) -> dict[str, int | list[int]]:
    """With which tokens the decoder of an encoder-decoder begins."""
    first, *forced = vocabulary.start
    return {"decoder_start_token_id": first, **({"forced_bos_token_id": forced[0]} if forced else {})}


def text_ids(vocabulary: Vocabulary) -> dict[str, int | list[int]]:
    """With which tokens a text begins, ends and is padded, as config.json and generation_config.json have it."""
    ends = sorted(vocabulary.ends)
    pad = vocabulary.pad if vocabulary.pad >= 0 else vocabulary.sep
    found: dict[str, int | list[int]] = {
        "pad_token_id": pad,
        "bos_token_id": vocabulary.cls,
        "eos_token_id": ends[0] if len(ends) == 1 else ends,
    }
    return {key: value for key, value in found.items() if value not in (-1, [])}
