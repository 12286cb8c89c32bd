"""Which of two answers is better, or whether one is good: what a model that writes is taught by preferences.

A record holds a prompt with a chosen and a rejected answer; or, unpaired, with one answer and whether it is good.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bothways.batch import Sample
from bothways.errors import UsageError
from bothways.model import TaskHead
from bothways.model.abilities import WORDS
from bothways.tasks.labels import label_name
from bothways.tasks.records import NAMES, BadField, Columns
from bothways.tasks.task import Example
from bothways.tasks.text2text import WritingTask
from bothways.text import Tokenizer

GOOD = {"true": True, "1": True, "yes": True, "good": True, "desirable": True, "chosen": True} | {
    "false": False,
    "0": False,
    "-1": False,
    "no": False,
    "bad": False,
    "undesirable": False,
    "rejected": False,
    "是": True,
    "好": True,
    "否": False,
    "坏": False,
    "差": False,
}
"""{what stands for a good answer or a bad one, in small letters: whether it is good}"""


@dataclass(frozen=True, slots=True)
class PreferredAnswer:
    """An answer to a prompt, and whether it is a good one."""

    text: str
    good: bool


class Prefer(WritingTask):
    """Records hold prompt, chosen and rejected; or prompt, completion and label."""

    name, metric, longest, refers = "prefer", "accuracy", 256, True

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """That of a text for a text: what the model is used for in the end."""
        return TaskHead("text2text", WORDS, (), "text", reads, texts=1)

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """prompt, chosen and rejected; where no field is called so, prompt, completion and label."""
        if not gold:
            return ("prompt",), ("id",)
        paired = any(name in fields for role in ("chosen", "rejected") for name in (role, *NAMES[role]))
        return ("prompt", "chosen", "rejected") if paired else ("prompt", "completion", "good"), ("id",)

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """A prompt; gold is one answer or two, the chosen first."""
        return Example(
            columns.id(record, number),
            (columns.text(record, "prompt"),),
            answers_of(record, columns) if gold else None,
            place,
        )

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """The prompt, or where answers are known the prompt with each of them, in their order.

        Raises:
            UsageError: a prompt or an answer without a token, or an answer longer than the model writes.
        """
        if example.gold is None:
            return super().encode(example, tokenizer, head, length=length)
        alone = (replace(example, gold=(answer.text,)) for answer in example.gold)
        return [one for some in alone for one in super(Prefer, self).encode(some, tokenizer, head, length=length)]


def answers_of(record: Mapping[str, Any], columns: Columns) -> tuple[PreferredAnswer, ...]:
    """The answers of a record.

    Raises:
        BadField: no text, two that are the same, or a label that says neither good nor bad.
    """
    if "chosen" not in columns.names:
        name = columns.names["good"]
        good = GOOD.get((label_name(record.get(name)) or "").casefold())
        if good is None:
            raise BadField(name, f"true or false, whether the answer is good, got {record.get(name)!r:.60}")
        return (PreferredAnswer(columns.text(record, "completion"), good),)
    chosen, rejected = (columns.text(record, role) for role in ("chosen", "rejected"))
    if chosen.split() == rejected.split():
        raise BadField(columns.names["rejected"], f"an answer that differs from the chosen one, got {rejected!r:.60}")
    return PreferredAnswer(chosen, good=True), PreferredAnswer(rejected, good=False)


class Grpo(WritingTask):
    """Records hold a prompt, and whatever a reward of the user's own reads: gold is the whole record."""

    name, metric, longest, refers = "grpo", "reward", 128, True

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """As `Prefer` has it."""
        return TaskHead("text2text", WORDS, (), "text", reads, texts=1)

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """prompt."""
        return ("prompt",), ("id",)

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """A prompt; gold is the record."""
        prompt = columns.text(record, "prompt")
        return Example(columns.id(record, number), (prompt,), dict(record) if gold else None, place)

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """The prompt alone: the model writes the answers.

        Raises:
            UsageError: a prompt without a token.
        """
        return super().encode(replace(example, gold=None), tokenizer, head, length=length)


def check_pairs(examples: Sequence[Example], loss: str) -> None:
    """
    Raises:
        UsageError: answers one by one, for a loss that compares two.
    """
    if loss != "kto" and (odd := next((one for one in examples if len(one.gold) == 1), None)):
        raise UsageError(
            f"{odd.place}: {loss} compares two answers to a prompt: expected columns for chosen and rejected, got one "
            "answer with a label. Take --set loss=kto"
        )
