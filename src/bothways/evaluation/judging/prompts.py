"""The prompts that models are judged by: a file of records, each with what is asked and how an answer is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bothways.corpus.records import read_records
from bothways.errors import DataError
from bothways.evaluation.judging.rules import checked_rules

FIELDS = {
    "prompt": ("prompt", "question", "instruction", "text", "问题", "指令"),
    "reference": ("reference", "references", "answer", "answers", "output", "target", "参考", "答案"),
}
"""{what is looked for: the fields of a record that are called so, the first that is there}"""
ROLES = ("system", "user", "assistant")


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
        messages = record.get("messages")
        plain = messages is None
        if messages is None:
            asked = _first(record, "prompt")
            if not isinstance(asked, str) or not asked.strip():
                known = ", ".join(FIELDS["prompt"])
                raise DataError(f"{place}: expected a text in one of {known}, or messages; got {sorted(record)}")
            messages = [{"role": "user", "content": asked}]
        answered = _answer_of(messages, place)
        asked_for = _texts(_first(record, "reference"), place) or answered
        rules = checked_rules(record.get("rules") or {}, place)
        asked_of = messages[:-1] if answered else messages
        yield JudgePrompt(str(record.get("id", number)), tuple(asked_of), plain, asked_for, rules)


def _first(record: Mapping[str, Any], what: str) -> Any:
    return next((record[name] for name in FIELDS[what] if record.get(name) is not None), None)


def _answer_of(messages: Any, place: str) -> tuple[str, ...]:
    """What the assistant says last: the reference of a talk that has an answer.

    Raises:
        DataError: they are no messages, or nobody asks.
    """
    good = isinstance(messages, list) and all(
        isinstance(one, dict) and one.get("role") in ROLES and isinstance(one.get("content"), str) for one in messages
    )
    answered = good and len(messages) > 1 and messages[-1]["role"] == "assistant"
    asked = good and bool(messages) and messages[-2 if answered else -1]["role"] == "user"
    if not asked:
        raise DataError(
            f'{place}: expected messages [{{"role": "user", "content": "..."}}, ...] that end with the user, or with '
            f"an answer to the user, got {str(messages)[:80]}"
        )
    return (messages[-1]["content"],) if answered else ()


def _texts(given: Any, place: str) -> tuple[str, ...]:
    if given is None:
        return ()
    several = given if isinstance(given, list) else [given]
    if not several or not all(isinstance(one, str) and one.strip() for one in several):
        raise DataError(f"{place}: reference: expected a text, or a list of texts, got {str(given)[:60]}")
    return tuple(several)
