"""The prompts that models are judged by: a file of records, each with what is asked and how an answer is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bothways.corpus.records import read_records
from bothways.errors import DataError
from bothways.evaluation.judging.rules import checked_rules
from bothways.tasks.messages import Messages, conversation_in, in_order
from bothways.tasks.records import BadField

FIELDS = {
    "prompt": ("prompt", "question", "instruction", "text", "问题", "指令"),
    "reference": ("reference", "references", "answer", "answers", "output", "target", "参考", "答案"),
}
"""{what is looked for: the fields of a record that are called so, the first that is there}"""


@dataclass(frozen=True, slots=True)
class JudgePrompt:
    """name        its id in the file, or its number from 0
    messages    what is asked: of a plain prompt, one message of the user
    plain       whether it stood there as a text, so that a model without a chat template can go on with it
    references  answers that are right
    rules       {rule: its value}, see `rules.RULES`
    """

    name: str
    messages: tuple[Mapping[str, str], ...]
    plain: bool = True
    references: tuple[str, ...] = ()
    rules: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What is asked last."""
        return self.messages[-1]["content"]


def read_prompts(path: Path) -> list[JudgePrompt]:
    """The prompts of a file: {"prompt": text} or {"messages": [...]}, with "reference" (a text, or several that are all
    right) and "rules" where they are known.

    Raises:
        DataError: it cannot be read, holds none, or a record that is no prompt; it is named by its line.
        UsageError: another format.
    """
    found = list(_prompts(path))
    if not found:
        raise DataError(f"{path}: expected prompts, got none")
    return found


def _prompts(path: Path) -> Iterator[JudgePrompt]:
    for number, line, record in read_records(path):
        place = f"{path}, line {line}"
        messages, answered = _messages(record, place)
        asked_for = _texts(_first(record, "reference"), place) or answered
        rules = checked_rules(record.get("rules") or {}, place)
        plain = record.get("messages") is None
        yield JudgePrompt(str(record.get("id", number)), messages, plain, asked_for, rules)


def _first(record: Mapping[str, Any], what: str) -> Any:
    return next((record[name] for name in FIELDS[what] if record.get(name) is not None), None)


def _messages(record: Mapping[str, Any], place: str) -> tuple[Messages, tuple[str, ...]]:
    """What is asked, the user's message last, and the answer of the assistant that stands behind it, if one does.

    Raises:
        DataError: no text and no messages, or messages that are out of order.
    """
    given = record.get("messages")
    if given is None:
        asked = _first(record, "prompt")
        if not isinstance(asked, str) or not asked.strip():
            known = ", ".join(FIELDS["prompt"])
            raise DataError(f"{place}: expected a text in one of {known}, or messages; got {sorted(record)}")
        return ({"role": "user", "content": asked},), ()
    try:
        messages = in_order(conversation_in(given, "messages"), "messages")
    except BadField as error:
        raise DataError(f"{place}: field 'messages': {error}") from None
    *asked_of, last = messages
    if last["role"] == "assistant":
        return tuple(asked_of), (last["content"],)
    if last["role"] != "user":
        raise DataError(f"{place}: field 'messages': expected messages that end with the user's, got {last['role']}")
    return messages, ()


def _texts(given: Any, place: str) -> tuple[str, ...]:
    if given is None:
        return ()
    several = given if isinstance(given, list) else [given]
    if not several or not all(isinstance(one, str) and one.strip() for one in several):
        raise DataError(f"{place}: reference: expected a text, or a list of texts, got {str(given)[:60]}")
    return tuple(several)
