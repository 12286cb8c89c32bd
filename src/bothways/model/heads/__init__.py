"""Heads: what is predicted from the states of the model; a file a head, one contract (`head.Head`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from bothways.model.config import ModelConfig
from bothways.model.heads.binary import copied, replaced
from bothways.model.heads.extract import ExtractHead
from bothways.model.heads.head import Head as Head
from bothways.model.heads.relation import RelationHead
from bothways.model.heads.san import AnswerNetwork
from bothways.model.heads.sentences import SentencesHead
from bothways.model.heads.text import TextHead
from bothways.model.heads.token import TokenHead
from bothways.model.heads.vector import VectorHead

HEADS: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "replaced": replaced,
    "sentences": SentencesHead,
    "copied": copied,
}
"""{name in a model: what makes it}: those of objectives that a saved model may hold, beside the words head."""

TASK_HEADS: dict[str, Any] = {
    "label": TextHead,
    "tags": TokenHead,
    "span": TokenHead,
    "markers": RelationHead,
    "entities": RelationHead,
    "vector": VectorHead,
    "extract": ExtractHead,
    "extract-mean": ExtractHead,
    "san": AnswerNetwork,
}
"""{what a `TaskHead` calls its head: its class}, made from a `ModelConfig` and the `TaskHead`; a new head is a file and
its line here."""

FACES = {"label": "classifier", "tags": "tagger", "span": "answerer"}
"""{head: what Hugging Face calls a model of it alone}; others it has no class for."""
