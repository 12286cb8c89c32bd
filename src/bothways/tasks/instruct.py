"""Instructions: what an assistant answers to a user, in the model's own chat template. It is taught its answers alone.

A record is a conversation, see `messages`. All its answers are taught; the last is what is written and scored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from bothways.batch import Sample
from bothways.errors import UsageError
from bothways.model import TaskHead
from bothways.tasks.messages import conversation_in, in_order, messages_of, roles_of, said_in
from bothways.tasks.records import BadField, Columns
from bothways.tasks.task import Example
from bothways.tasks.text2text import WritingTask, taught
from bothways.text import Tokenizer
from bothways.text.chat import Message, chat_tokens
from bothways.text.conversation import DAY, conversation, fitted


class Instruct(WritingTask):
    """Records hold messages; or instruction, input and output.

    The text of an example is what was said before the answer; the messages are there too.
    """

    name, metric, longest, chats = "instruct", "rougeL", 256, True

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """messages; or instruction, and where gold is known output."""
        return roles_of(fields, gold=gold)

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """What was said before the last answer; gold is a tuple of that answer."""
        messages = messages_of(record, columns, gold=gold)
        answer = (messages[-1]["content"],) if gold else None
        return _example(columns.id(record, number), messages[:-1] if gold else messages, answer, place)

    def given(self, inputs: Any, head: TaskHead) -> Example:
        """What a user says, or messages.

        Raises:
            UsageError: something that is neither.
        """
        if isinstance(inputs, str) and inputs.strip():
            return asked(0, inputs, None, "")
        try:
            messages = in_order(conversation_in(inputs, "messages"), "messages")
        except BadField as error:
            raise UsageError(f"{self.name}: {error}") from None
        if messages[-1]["role"] != "user":
            raise UsageError(f"{self.name}: expected messages that end with the user's, got {messages[-1]['role']}")
        return _example(0, messages, None, "")

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """The conversation, whose answers are in segment 1, each with the token that ends its turn; they are the
        targets. Without a known answer, what opens it stands last.

        The oldest exchanges are left out of one that is too long, then the end of the user's last message; of the last
        answer as much is taught as the model writes.

        Raises:
            UsageError: what the template refuses, or no room.
        """
        writes = head.writes
        assert writes is not None
        room = writes.room(length)
        if example.gold is None:
            messages, cut = fitted(tokenizer, example.messages, room)
            tokens = chat_tokens(tokenizer, messages, now=DAY)
            return [taught(tokens, np.zeros(len(tokens), dtype=bool), name=self.name, cut=cut)]
        answer = {"role": "assistant", "content": example.gold[0]}
        found, cut = conversation(tokenizer, [*example.messages, answer]), 0
        if found.answers[-1][0] > room:
            messages, cut = fitted(tokenizer, example.messages, room)
            found = conversation(tokenizer, [*messages, answer])
        begin, end = found.answers[-1]
        last = min(end, begin + writes.target)
        said = np.zeros(last, dtype=bool)
        for start, stop in found.answers:
            said[start:stop] = True
        return [taught(found.tokens[:last], said, name=self.name, cut=cut + end - last)]

    def record(self, example: Example, text: str) -> dict[str, Any]:
        """The conversation with what was written as its last answer."""
        return {"messages": [*example.messages, {"role": "assistant", "content": text}]}


def marked(sample: Sample, tokenizer: Tokenizer) -> list[tuple[str, bool]]:
    """A conversation as [(text, whether it is taught)], the names of special tokens in it."""
    said, found = np.asarray(sample.layout.segment) > 0, []
    special = tokenizer.vocabulary.special
    for places in np.split(np.arange(len(sample)), np.flatnonzero(np.diff(said)) + 1):
        row, text = sample.tokens[places], ""
        alone = np.isin(row, sorted(special))
        for some in np.split(row, np.flatnonzero(np.diff(alone)) + 1):
            text += "".join(tokenizer.tokens(some)) if some[0] in special else tokenizer.decode(some)
        found.append((text, bool(said[places[0]])))
    return found


def asked(number: Any, question: str, answer: str | None, place: str) -> Example:
    """An example of one question."""
    return _example(number, ({"role": "user", "content": question},), None if answer is None else (answer,), place)


def _example(number: Any, messages: Sequence[Message], gold: tuple[str, ...] | None, place: str) -> Example:
    return Example(number, (said_in(messages),), gold, place, messages=tuple(messages))
