"""Records of preferences: a prompt, and two answers of which one was chosen, or one answer that is good or bad.

A prompt is what a user says, or messages; an answer is a text, or messages that end with it, as published data sets
have them: with the prompt once more before it, or in place of a prompt of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bothways.tasks.labels import label_name
from bothways.tasks.messages import Messages, conversation_in, in_order
from bothways.tasks.records import NAMES, BadField, Columns

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


def roles_of_preferences(fields: Collection[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The roles of columns that records with fields of these names need, and those that they may have."""
    if any(name in fields for role in ("chosen", "rejected") for name in (role, *NAMES[role])):
        return ("chosen", "rejected"), ("prompt", "system", "id")
    return ("prompt", "completion", "good"), ("system", "id")


def preference_of(record: Mapping[str, Any], columns: Columns) -> tuple[Messages, tuple[PreferredAnswer, ...]]:
    """The messages before the answer, and one answer or two, the chosen first.

    Raises:
        BadField: no conversation, roles out of order, no answer, two that are the same or that answer different
            prompts, or a label that says neither good nor bad.
    """
    if "chosen" not in columns.names:
        name = columns.names["good"]
        good = GOOD.get((label_name(record.get(name)) or "").casefold())
        if good is None:
            raise BadField(name, f"true or false, whether the answer is good, got {record.get(name)!r:.60}")
        before, text = _answer(record, columns, "completion", prompt_of(record, columns))
        return before, (PreferredAnswer(text, good),)
    own = prompt_of(record, columns) if columns.has(record, "prompt") else ()
    (before, chosen), (other, rejected) = (_answer(record, columns, role, own) for role in ("chosen", "rejected"))
    before, other = (_with_system(messages, record, columns) for messages in (before, other))
    name = columns.names["rejected"]
    if before != other:
        raise BadField(name, "an answer to the same messages as the chosen one, got one to others")
    if chosen.split() == rejected.split():
        raise BadField(name, f"an answer that differs from the chosen one, got {rejected!r:.60} for both")
    return before, (PreferredAnswer(chosen, good=True), PreferredAnswer(rejected, good=False))


def prompt_of(record: Mapping[str, Any], columns: Columns) -> Messages:
    """The messages of a prompt, the user's last.

    Raises:
        BadField: no text, no conversation, roles out of order, or an end that is not the user's.
    """
    name, value = columns.names["prompt"], _value(record, columns, "prompt")
    if not isinstance(value, list):
        found: Messages = ({"role": "user", "content": columns.text(record, "prompt")},)
    else:
        found = conversation_in(value, name)
    found = in_order(_with_system(found, record, columns), name)
    if found[-1]["role"] != "user":
        raise BadField(name, f"a conversation that ends with the user's message, got one that ends with {_end(found)}")
    return found


def _with_system(messages: Messages, record: Mapping[str, Any], columns: Columns) -> Messages:
    """With what a column `system` says, where they do not begin with something of the kind."""
    if not columns.has(record, "system") or messages[0]["role"] == "system":
        return messages
    return ({"role": "system", "content": columns.text(record, "system")}, *messages)


def _answer(record: Mapping[str, Any], columns: Columns, role: str, prompt: Messages) -> tuple[Messages, str]:
    """What stands before an answer, and the answer."""
    name, value = columns.names[role], _value(record, columns, role)
    if not isinstance(value, list):
        if not prompt:
            raise BadField(name, f"messages that end with an answer, or a prompt beside it, got {value!r:.60} alone")
        return prompt, columns.text(record, role)
    found = conversation_in(value, name)
    if found[-1]["role"] != "assistant":
        raise BadField(name, f"a conversation that ends with an answer of the assistant, got one with {_end(found)}")
    *before, answer = found
    if not before and prompt:
        return prompt, answer["content"]
    found = in_order(found, name)
    if prompt and prompt[0]["role"] == "system" != found[0]["role"]:
        prompt = prompt[1:]  # of a column beside it
    if (
        prompt
        and [one["content"] for one in prompt][-len(before) :] != [one["content"] for one in before][-len(prompt) :]
    ):
        raise BadField(
            name, f"messages that begin with the prompt, got {before[-1]['content']!r:.60} before the answer"
        )
    if not before or before[-1]["role"] != "user":
        raise BadField(name, "a message of the user before the answer, got none")
    return tuple(before) if len(before) > len(prompt) else prompt, answer["content"]


def _value(record: Mapping[str, Any], columns: Columns, role: str) -> Any:
    """What stands there: messages or a text, also where the text is JSON in a table."""
    written, value = record.get(columns.names[role]), columns.value(record, role)
    if not isinstance(written, str) or not isinstance(value, list):
        return written
    known = {"role", "from", "content"}
    return value if value and all(isinstance(one, Mapping) and known & one.keys() for one in value) else written


def _end(messages: Messages) -> str:
    return f"one of the {messages[-1]['role']}"
