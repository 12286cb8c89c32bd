"""Records of instructions and conversations as messages: {"role": "system" | "user" | "assistant", "content": text}.

Three forms are told apart by the names of the fields: `messages` as OpenAI has them (role, content), `conversations` of
ShareGPT (from, value), and Alpaca's columns (instruction, input, output).
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Mapping, Sequence
from html.entities import html5
from typing import Any

from bothways.tasks.records import NAMES, BadField, Columns, whole_text

Messages = tuple[dict[str, str], ...]
SPEAKERS = dict.fromkeys(("human", "user", "prompter"), "user")
SPEAKERS |= dict.fromkeys(("gpt", "assistant", "chatgpt", "model", "bot"), "assistant") | {"system": "system"}
"""{who speaks in ShareGPT's `from`: the role}"""
_NOTHING = {"<noinput>", "<no input>", "<无输入>", "无输入", "noinput"}
"""What Alpaca's records, and their translations, have where there is no input."""
_ESCAPE = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")


def roles_of(fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
    """The roles of columns that records with fields of these names need, and those that they may have; `fields` are
    names as `records.plain` has them, and roles that were given columns."""
    if "instruction" not in fields and any(name in fields for name in NAMES["messages"]):
        return ("messages",), ("id",)
    return ("instruction", "output") if gold else ("instruction",), ("input", "system", "id")


def messages_of(record: Mapping[str, Any], columns: Columns, *, gold: bool) -> Messages:
    """The messages of a record. With `gold` the last is the assistant's; without, the user's: an answer behind it is
    left out.

    Raises:
        BadField: no conversation, roles out of order, or no answer where one is needed.
    """
    if "messages" in columns.names:
        name = columns.names["messages"]
        found = in_order(conversation_in(columns.value(record, "messages"), name), name)
        found = found[:-1] if not gold and found[-1]["role"] == "assistant" else found
    else:
        name, found = columns.names["instruction"], _instruction(record, columns, gold=gold)
    wanted = "assistant" if gold else "user"
    if found[-1:] == () or found[-1]["role"] != wanted:
        got = found[-1]["role"] if found else "nothing"
        what = "an answer of the assistant" if gold else "a message of the user"
        raise BadField(name, f"a conversation that ends with {what}, got one that ends with {got}")
    return found


def conversation_in(value: Any, column: str) -> Messages:
    """Messages of either form, with the names of the roles as OpenAI has them; ShareGPT's lose their HTML escapes.

    Raises:
        BadField: no list of messages, or one that is no message.
    """
    if not isinstance(value, list | tuple) or not value:
        raise BadField(column, f'a list of messages {{"role": ..., "content": ...}}, got {value!r:.80}')
    return tuple(_message(one, number, column) for number, one in enumerate(value, 1))


def in_order(messages: Messages, column: str) -> Messages:
    """
    Raises:
        BadField: roles that do not follow each other as user, assistant, user, ..., before them at most one system.
    """
    first = int(messages[0]["role"] == "system")
    for number, message in enumerate(messages[first:]):
        wanted = ("user", "assistant")[number % 2]
        if message["role"] != wanted:
            place = number + first
            before = f" after {messages[place - 1]['role']}" if place else " first, or system"
            raise BadField(column, f"message {place + 1} to be of {wanted}{before}, got {message['role']}")
    return messages


def _message(one: Any, number: int, column: str) -> dict[str, str]:
    """
    Raises:
        BadField: no message, a role that there is not, or one that says nothing.
    """
    shared = isinstance(one, Mapping) and "from" in one and "role" not in one
    role, content = (one.get("from"), one.get("value")) if shared else _plain(one)
    known = (
        SPEAKERS if shared else {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
    )
    if not isinstance(role, str) or role not in known:
        raise BadField(column, f"message {number} to be of {', '.join(known)}, got {one!r:.80}")
    if not isinstance(content, str) or not content.strip():
        raise BadField(column, f"message {number} ({role}) to say something, got {content!r:.60}")
    return {"role": known[role], "content": whole_text(unescaped(content) if shared else content, column)}


def _plain(one: Any) -> tuple[Any, Any]:
    """Role and content of OpenAI's form, a content in parts as one text."""
    if not isinstance(one, Mapping) or one.get("tool_calls"):
        return None, None
    content = one.get("content")
    if isinstance(content, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    return one.get("role"), content


def _instruction(record: Mapping[str, Any], columns: Columns, *, gold: bool) -> Messages:
    """Alpaca's columns: the input stands behind the instruction, an empty line between them."""
    asked = unescaped(columns.text(record, "instruction"))
    given = unescaped(columns.text(record, "input")) if columns.has(record, "input") else ""
    if given.strip() and given.strip().casefold() not in _NOTHING:
        asked = f"{asked}\n\n{given}"
    found = [{"role": "user", "content": asked}]
    if columns.has(record, "system"):
        found.insert(0, {"role": "system", "content": unescaped(columns.text(record, "system"))})
    if gold:
        found.append({"role": "assistant", "content": unescaped(columns.text(record, "output"))})
    return tuple(found)


def unescaped(text: str) -> str:
    """Text without HTML escapes, as &lt; and &#39;, which copies of web pages have; what only looks like one stays."""
    return _ESCAPE.sub(lambda match: html.unescape(match[0]) if _known(match[0]) else match[0], text)


def _known(escape: str) -> bool:
    """Whether it is one of HTML's: `html.unescape` would take the beginning of another for one."""
    return escape.startswith("&#") or escape[1:] in html5


def said_in(messages: Sequence[Mapping[str, str]]) -> str:
    """What messages say, as one text."""
    return "\n\n".join(message["content"] for message in messages)
