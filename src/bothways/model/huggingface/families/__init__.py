"""The families of transformers that are read and written; a new one is a file here, and nothing else."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bothways.errors import ModelError
from bothways.model.config import ModelConfig
from bothways.model.huggingface.family import UNUSUAL, Family, HeadShape
from bothways.model.huggingface.halves import shape_of_heads

if TYPE_CHECKING:
    from bothways.model.abilities import TaskHead

FAMILIES: dict[str, Family] = {
    found.name: found
    for _, name, _ in pkgutil.iter_modules(__path__)
    for found in vars(import_module(f"{__name__}.{name}")).values()
    if isinstance(found, Family)
}
"""{model_type, and its part: the family}, of all files here; where several have a shape, the first is what it is saved
as"""


def family_of(values: Mapping[str, Any]) -> Family:
    """That of a config.json.

    Raises:
        ModelError: a kind of model that is not ours.
    """
    kind = values.get("model_type")
    of_kind = [family for family in FAMILIES.values() if family.model_type == kind]
    if not of_kind:
        known = ", ".join(sorted({family.model_type for family in FAMILIES.values()}))
        raise ModelError(f"config.json: model_type is {kind}; Bothways loads {known}")
    encoder_decoder = values.get("is_encoder_decoder", of_kind[0].encoder_decoder)
    return next((family for family in of_kind if family.encoder_decoder == encoder_decoder), of_kind[0])


def shaped_as(config: ModelConfig) -> list[Family]:
    """The families that have this shape; where none has it, those that are nearest."""
    away = {name: len(family.differs(config)) for name, family in FAMILIES.items()}
    return [family for name, family in FAMILIES.items() if away[name] == min(away.values())]


def family_for(config: ModelConfig, face: str) -> Family:
    """The family that a face of a shape is saved as.

    Raises:
        ModelError: there is none; worth asking before a run is started.
    """
    fitting = shaped_as(config)
    nearest = min(
        fitting, key=lambda family: (family.encoder_decoder, family.part)
    )  # a whole model of one stack, if any
    if differences := nearest.differs(config):
        changes = ", ".join(f"{name} to {value}" for name, _, value in differences)
        raise ModelError(
            f"transformers has no model of this shape, so it cannot be saved; it would be {nearest.model_type}'s: "
            f"set {changes}"
        )
    for family in fitting:
        if face in family.classes:
            return family
    known = ", ".join(sorted({face for family in fitting for face in family.classes}))
    raise ModelError(f"Hugging Face has no {face} of {fitting[0].model_type}'s shape; it has: {known}")


def with_word_head(config: ModelConfig) -> ModelConfig:
    """The same shape with a head that predicts tokens as transformers' class has it."""
    known = [kind for family in shaped_as(config) for kind in family.word_heads]
    return config if config.word_head in known else config.model_copy(update={"word_head": known[0]})


def head_shape(config: ModelConfig, head: TaskHead) -> HeadShape:
    """What a task's head does before its last matrix, as transformers' class for it has it.

    Raises:
        ModelError: no such class, or not one that pools so.
    """
    families = shaped_as(shape_of_heads(config))
    if head.head != "label":
        return families[0].tokens
    family = next((family for family in families if head.reads in family.labels), None)
    if family is None:
        raise ModelError(
            f"a {families[0].model_type} that reads as a {head.reads} has no class for labels in transformers"
        )
    found = family.labels[head.reads]
    if head.pooling not in ("", found.pool, *family.poolings):
        raise ModelError(f"{family.model_type} has no head for labels that pools by {head.pooling}")
    return replace(found, pool=head.pooling or found.pool)  # type: ignore[arg-type]


USES = {
    "seq2seq": "text from text",
    "encoder": "masked tokens",
    "decoder": "generation",
    "detector": "replaced tokens",
    "body": "vectors",
    "decoder-body": "causal vectors",
    "classifier": "labels",
    "decoder-classifier": "causal labels",
    "tagger": "tags",
    "decoder-tagger": "causal tags",
    "answerer": "answers",
    "decoder-answerer": "causal answers",
}
"""{face: what a model that has it is for}"""


def describe() -> list[dict[str, Any]]:
    """Every family: published models of it, what one can be saved as, and which values of config.json are computed."""
    return [
        {
            "model_type": family.name,
            "known": family.known,
            "classes": {USES[face]: name for face, name in family.classes.items()},
            "computed": {field: list(values) for field, values in sorted(family.only.items()) if field not in UNUSUAL},
        }
        for family in FAMILIES.values()
    ]
