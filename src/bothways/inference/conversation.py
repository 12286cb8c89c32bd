"""A conversation with a chat model: its messages, answered one after another, and kept as files to train on."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from bothways.corpus.lines import kept, lines, refuse
from bothways.errors import DataError, UsageError
from bothways.files import write_text
from bothways.inference.decoding.generate import stream
from bothways.inference.decoding.options import GenerationOptions, GenerationRequest
from bothways.inference.engine import Engine
from bothways.inference.language_model import LanguageModel
from bothways.inference.writing import chatting_as
from bothways.reading import UnreadableError, parse_json
from bothways.text.chat import Message, chat_tokens

ROLES = ("system", "user", "assistant")


@dataclass(slots=True)
class Conversation:
    """Messages with one model.

    messages  {"role": "system", "user" or "assistant", "content": text}, as OpenAI and transformers have them
    unread    how many of them the last answer did not see: the oldest turns, where all are more than the model reads
    """

    model: LanguageModel
    options: GenerationOptions
    messages: list[dict[str, str]] = field(default_factory=list)
    unread: int = 0

    def ask(self, question: str, *, now: datetime | None = None) -> Generator[str, None, None]:
        """The model's answer in the parts in which it is generated; what was said when the caller stops is the answer.

        Raises:
            UsageError: what the chat template refuses, or a question that is longer than the model reads.
            ModelError: the model has no chat template, or answers messages for several tasks.
        """
        engine = chatting_as(self.model.engine)
        before = self.messages
        asked = [*before, {"role": "user", "content": question}]
        tokens, self.unread = self._fitting(engine, asked, now or datetime.now())
        turn = sum(message["role"] == "user" for message in self.messages)
        request = GenerationRequest(np.array(tokens, dtype=np.int64), self.options, (self.options.seed, turn))
        answer = ""
        try:
            for part in stream(engine, request):
                answer += part
                yield part
        except (GeneratorExit, KeyboardInterrupt):  # who asked wants no more
            self._keep(before, asked, answer)
            raise
        self._keep(before, asked, answer)

    def _keep(self, before: list[dict[str, str]], asked: list[dict[str, str]], answer: str) -> None:
        if self.messages is before:  # else the talk has gone on without this answer, which was left off
            self.messages = [*asked, {"role": "assistant", "content": answer}]

    @property
    def question(self) -> str | None:
        """The last one; None: there was none."""
        return next((one["content"] for one in reversed(self.messages) if one["role"] == "user"), None)

    def undo(self) -> bool:
        """Takes back the last question and its answer; False: there was none."""
        asked = [place for place, message in enumerate(self.messages) if message["role"] == "user"]
        self.messages = self.messages[: asked[-1]] if asked else self.messages
        return bool(asked)

    def begin(self) -> None:
        """Forgets all but the system's message."""
        self.messages, self.unread = _systems(self.messages), 0

    @property
    def system(self) -> str:
        """What the model is told before; nothing: empty."""
        return "\n".join(message["content"] for message in _systems(self.messages))

    def instruct(self, system: str) -> None:
        """What the model is told before, without forgetting what was said."""
        rest = self.messages[len(_systems(self.messages)) :]
        self.messages = [{"role": "system", "content": system}, *rest]

    def _fitting(self, engine: Engine, messages: list[dict[str, str]], now: datetime) -> tuple[list[int], int]:
        """The tokens of as many turns as leave room for an answer, and how many messages were left out."""
        systems = len(_systems(messages))
        room = engine.length - min(self.options.max_new_tokens, engine.length // 2)
        begins = [place for place, one in enumerate(messages) if one["role"] == "user" and place > systems]
        for begin in (systems, *begins):
            tokens = chat_tokens(engine.tokenizer, [*messages[:systems], *messages[begin:]], now=now)
            if len(tokens) <= room:
                return tokens, begin - systems
        if len(tokens) > engine.length:
            raise UsageError(
                f"the question has {len(tokens):,} tokens with what stands around it, and the model reads "
                f"{engine.length:,}: ask about less"
            )
        return tokens, begin - systems


def _systems(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The system's messages that it begins with."""
    first = next((place for place, one in enumerate(messages) if one["role"] != "system"), len(messages))
    return list(messages[:first])


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation in a file: a line {"messages": [...]}, with "model" where several answered side by side.

    written  the line as it stood in a file, with whatever else it holds
    """

    messages: list[dict[str, str]]
    model: str = ""
    written: str = field(default="", compare=False)

    def line(self) -> str:
        """As JSON, a line; one that was read is as it was."""
        if self.written:
            return self.written
        named = {"model": self.model} if self.model else {}
        return json.dumps({"messages": self.messages, **named}, ensure_ascii=False)


def read_transcripts(path: Path) -> list[Transcript]:
    """The conversations in a file, a line each.

    Raises:
        DataError: it cannot be read, or a line that is none; it is named.
    """
    found = []
    for _, number, text in kept(lines(path), path, refuse):
        if text.strip():
            found.append(_transcript(text, f"{path}, line {number}"))
    return found


def _transcript(text: str, place: str) -> Transcript:
    try:
        record: Any = parse_json(text)
    except UnreadableError as error:
        raise DataError(f"{place}: expected JSON, got what does not read: {error}") from None
    messages = record.get("messages") if isinstance(record, dict) else None
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise DataError(
            f'{place}: expected {{"messages": [{{"role": "user", "content": "..."}}, ...]}} with the roles '
            f"{', '.join(ROLES)}, got {text[:60]}"
        )
    model = record.get("model")
    plain = [{"role": one["role"], "content": one["content"]} for one in messages]
    return Transcript(plain, model if isinstance(model, str) else "", text.strip())


def _is_message(message: Message | Any) -> bool:
    return isinstance(message, dict) and message.get("role") in ROLES and isinstance(message.get("content"), str)


def write_transcripts(path: Path, transcripts: Sequence[Transcript]) -> None:
    """A file of conversations, whole or not at all.

    Raises:
        MachineError: it cannot be written.
    """
    write_text(path, "".join(f"{one.line()}\n" for one in transcripts))
