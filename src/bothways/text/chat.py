"""Messages as text and tokens by the model's own chat template, as transformers' apply_chat_template has them.

A template is code of others: it runs in Jinja's immutable sandbox and sees messages, the names of special tokens, and a
date. Names of special tokens in what a message says are characters, not tokens: nobody closes a turn from inside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bothways.errors import ModelError, UsageError
from bothways.text.tokenizer import Tokenizer

Message = Mapping[str, Any]
_PRIVATE = range(0xE000, 0xF900)


class _Generation(Extension):
    """{% generation %} marks what the model said, for training: here it is what stands in it."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def chat_tokens(tokenizer: Tokenizer, messages: Sequence[Message], *, now: datetime) -> list[int]:
    """The tokens of messages {"role": ..., "content": ...}, and what opens the model's answer.

    Raises:
        UsageError: what are no messages, or what the template refuses.
        ModelError: the model has no chat template, or one that does not read.
    """
    given: Any = messages
    if not isinstance(given, list | tuple):
        raise UsageError(f"messages: expected a list of them, got {str(given)[:60]} ({type(given).__name__})")
    for number, message in enumerate(given, 1):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise UsageError(
                f'message {number}: expected {{"role": "user", "content": "..."}}, got {str(message)[:60]}'
            )
    names, said = tokenizer.special_names, json.dumps([*messages], ensure_ascii=False)
    named = [name for name in names if name in said]
    if not named:
        return tokenizer.encode_named(render(tokenizer, messages, now=now))
    guard = next(chr(code) for code in _PRIVATE if chr(code) not in said)
    found = re.compile("|".join(map(re.escape, sorted(named, key=len, reverse=True))))

    def guarded(value: Any) -> Any:
        if isinstance(value, str):
            return found.sub(lambda match: match[0][0] + guard + match[0][1:], value)
        if isinstance(value, Mapping):
            return {key: one if key == "role" else guarded(one) for key, one in value.items()}
        return [guarded(one) for one in value] if isinstance(value, list | tuple) else value

    text = render(tokenizer, [guarded(message) for message in messages], now=now)
    parts = re.split("(" + "|".join(map(re.escape, sorted(names, key=len, reverse=True))) + ")", text)
    tokens: list[int] = []
    for place, part in enumerate(parts):  # text, a special token, text, ...
        plain = part.replace(guard, "")
        tokens += tokenizer.encode_named(part) if place % 2 else tokenizer.encode(plain) if plain else []
    return tokens


def render(tokenizer: Tokenizer, messages: Sequence[Message], *, now: datetime) -> str:
    """The text of messages, and what opens the model's answer."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": now.strftime}
    try:
        template = environment.from_string(_default(tokenizer.chat))
    except TemplateError as error:
        raise ModelError(f"the model's chat template does not read: {error}") from error
    given = {"messages": [*messages], "add_generation_prompt": True, "tools": None, "documents": None}
    try:
        return template.render(**tokenizer.named, **given)
    except (TemplateError, TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        roles = ", ".join(str(message["role"]) for message in messages)
        raise UsageError(f"the model's chat template refuses these messages ({roles}): {error}") from error


def _default(chat: Any) -> str:
    """The template, of several by name the one named "default"."""
    if isinstance(chat, list):
        chat = {one["name"]: one["template"] for one in chat}
    if isinstance(chat, Mapping):
        if "default" not in chat:
            raise ModelError(f'the model has chat templates {", ".join(chat)}, expected one named "default"')
        chat = chat["default"]
    if not isinstance(chat, str):
        raise ModelError(
            "the model has no chat template, so it was not taught to chat: expected chat_template.jinja, or "
            "chat_template in tokenizer_config.json; generate continues a text"
        )
    return chat


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    """Jinja's own escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
