"""Messages as text and tokens by the model's own chat template, as transformers' apply_chat_template has them.

A template is code of others: it runs in Jinja's immutable sandbox and sees messages, the names of special tokens, and a
date. Names of special tokens in what a message says are characters, not tokens: nobody closes a turn from inside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Any, NoReturn

from jinja2 import StrictUndefined, Template, TemplateError, Undefined
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bothways.arguments import shown
from bothways.errors import ModelError, UsageError
from bothways.text.tokenizer import Tokenizer

Message = Mapping[str, Any]
_PRIVATE = range(0xE000, 0xF900)
FAILURES = (TemplateError, TypeError, LookupError, AttributeError, ValueError, ArithmeticError, RecursionError)
"""What a template raises that fails."""


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
    messages = checked_messages(messages)
    guard = Guard.of(tokenizer, messages)
    return guard.tokens(render(tokenizer, guard(messages), now=now))


def checked_messages(messages: Any) -> list[Message]:
    """The messages, of any mapping a dictionary.

    Raises:
        UsageError: what are no messages, or hold what JSON cannot say.
    """
    if not isinstance(messages, list | tuple):
        raise UsageError(f"messages: expected a list of them, got {str(messages)[:60]} ({type(messages).__name__})")
    for number, message in enumerate(messages, 1):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise UsageError(
                f'message {number}: expected {{"role": "user", "content": "..."}}, got {str(message)[:60]}'
            )
    return [_plain(message, f"message {number}") for number, message in enumerate(messages, 1)]


def _plain(value: Any, place: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner, f"{place}, {key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, f"{place}, {number}") for number, inner in enumerate(value, 1)]
    if value is None or isinstance(value, str | int | float):
        return value
    raise UsageError(f"{place}: expected text, numbers, lists or dictionaries, got {shown(value)}. Write it as text.")


@dataclass(frozen=True, slots=True)
class Guard:
    """What keeps the names of special tokens in messages from being read as tokens.

    names  of special tokens that stand in the messages
    sign   a character that does not: put into each such name until the text is cut into tokens
    mark   another one, for whoever looks for a place in the text
    """

    tokenizer: Tokenizer
    names: tuple[str, ...]
    sign: str
    mark: str

    @classmethod
    def of(cls, tokenizer: Tokenizer, messages: Sequence[Message]) -> Guard:
        """For these messages."""
        said = json.dumps([*messages], ensure_ascii=False) + "".join(map(_joined, messages))
        free = (chr(code) for code in _PRIVATE if chr(code) not in said)
        return cls(tokenizer, tuple(name for name in tokenizer.special_names if name in said), next(free), next(free))

    def __call__(self, messages: Sequence[Message]) -> list[Message]:
        """The messages with the sign in every such name; a role is the template's own."""
        if not self.names:
            return [*messages]
        found = any_of(self.names)

        def guarded(value: Any) -> Any:
            if isinstance(value, str):
                return found.sub(lambda match: match[0][0] + self.sign + match[0][1:], value)
            if isinstance(value, Mapping):
                return {key: one if key == "role" else guarded(one) for key, one in value.items()}
            return self._parted([guarded(one) for one in value]) if isinstance(value, list | tuple) else value

        return [guarded(message) for message in messages]

    def _parted(self, parts: list[Any]) -> list[Any]:
        """Parts of a content with the sign between texts, whose ends may be halves of a name."""
        texts = [*map(_text_of, parts)]
        behind = [bool(text) and any(texts[:number]) for number, text in enumerate(texts)]
        return [
            {**one, "text": self.sign + one["text"]} if two else one for one, two in zip(parts, behind, strict=True)
        ]

    def tokens(self, text: str) -> list[int]:
        """Those of a text that a template made of guarded messages; a soft prompt stands before them. All of it but the
        texts that hold a name is cut as it would be without one."""
        own = self.tokenizer
        if not self.names:
            return [*own.prompt, *own.encode_named(text)]
        tokens = [*own.prompt]
        parts = re.split(f"({any_of(own.special_names).pattern})", text)  # text, a special token, text, ...
        for guarded, some in groupby(parts, lambda part: self.sign in part):
            whole = "".join(some)
            plain = whole.replace(self.sign, "")
            tokens += own.encode(plain) if guarded else own.encode_named(whole) if whole else []
        return tokens


def _text_of(part: Any) -> str:
    """Of a part of a content, where it is a text."""
    text = part.get("text") if isinstance(part, Mapping) else None
    return text if isinstance(text, str) else ""


def _joined(message: Message) -> str:
    """The texts of a content in parts, as a template may put them together."""
    content = message.get("content")
    return "".join(map(_text_of, content)) if isinstance(content, list | tuple) else ""


def any_of(names: Sequence[str]) -> re.Pattern[str]:
    """One of the names, the longest that fits."""
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))


def render(tokenizer: Tokenizer, messages: Sequence[Message], *, now: datetime, opens: bool = True) -> str:
    """The text of messages, and what `opens` the model's answer.

    Raises:
        UsageError: what the template refuses.
        ModelError: the model has no chat template, or one that does not read.
    """
    try:
        template = sandboxed(default_template(tokenizer.chat))
    except TemplateError as error:
        raise ModelError(f"the model's chat template does not read: {error}") from error
    given = {"messages": [*messages], "add_generation_prompt": opens, "tools": None, "documents": None}
    try:
        return template.render(**tokenizer.named, **given, strftime_now=now.strftime)
    except FAILURES as error:
        roles = ", ".join(str(message["role"]) for message in messages)
        raise UsageError(f"the model's chat template refuses these messages ({roles}): {error}") from error


@lru_cache(maxsize=1024)
def sandboxed(text: str, *, strict: bool = False) -> Template:
    """A template that changes nothing, reads no file and calls nothing but what it is given; `strict`: what it names
    must be there.

    Raises:
        TemplateError: one that does not read.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, loopcontrols],
        undefined=StrictUndefined if strict else Undefined,
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    return environment.from_string(text)


def default_template(chat: Any) -> str:
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
