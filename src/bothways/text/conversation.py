"""A whole conversation as tokens, and which of them the model is to say: its answers, with the token that ends a turn.

A template need not mark what the model said ({% generation %}): it is found by rendering. What the template writes to
open an answer must be what stands before that answer in the whole, token for token; and a special token must end it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bothways.errors import ModelError, UsageError
from bothways.text.chat import Guard, Message, any_of, chat_tokens, render
from bothways.text.tokenizer import Tokenizer

DAY = datetime(2024, 7, 26)
"""What a template is told of the time where a run must be the same whenever it is repeated: Llama 3's own example."""


@dataclass(frozen=True, slots=True)
class ConversationTokens:
    """tokens   all of it
    answers  (begin, end) of each answer, the token that ends its turn included
    """

    tokens: list[int]
    answers: tuple[tuple[int, int], ...]


def conversation(tokenizer: Tokenizer, messages: Sequence[Message], *, now: datetime = DAY) -> ConversationTokens:
    """The tokens of messages as transformers' apply_chat_template has them, and where what the assistant says stands.

    Raises:
        UsageError: what the template refuses, or does not write as it opens an answer.
        ModelError: the model has no chat template, or one that does not read or that ends no answer.
    """
    guard = Guard.of(tokenizer, messages)
    given = guard(messages)
    text = render(tokenizer, given, now=now, opens=False)
    tokens = guard.tokens(text)
    ends = _ends(tokenizer, guard, given, text, tokens, now=now)
    answers = []
    for number, end in ends.items():
        opening = render(tokenizer, given[:number], now=now)
        opened = guard.tokens(opening)
        if tokens[: len(opened)] != opened or len(opened) >= end:
            if text.startswith(opening) and given[number]["content"][:1].isspace():
                raise UsageError(
                    f"message {number + 1}: this answer begins with white space that is one token with what the "
                    "model's chat template writes before it, so it cannot be told where it begins. Leave out that "
                    "white space"
                )
            raise UsageError(
                f"message {number + 1}: the model's chat template does not open this answer as it stands in the whole "
                "conversation, so it cannot be told where it begins. Give each answer as a conversation of its own"
            )
        answers.append((len(opened), end))
    return ConversationTokens(tokens, tuple(answers))


def _ends(
    tokenizer: Tokenizer, guard: Guard, given: Sequence[Message], text: str, tokens: Sequence[int], *, now: datetime
) -> dict[int, int]:
    """{number of the message of an answer: where it ends}: behind the first special token that follows it.

    Raises:
        UsageError: the template writes something else where an answer has a mark in it.
        ModelError: no special token follows.
    """
    said = [number for number, message in enumerate(given) if message["role"] == "assistant"]
    marked = render(tokenizer, _marked(given, guard.mark), now=now, opens=False)
    parts = marked.split(guard.mark)
    if "".join(parts) != text or len(parts) != len(said) + 1:
        raise UsageError(
            "the model's chat template does not write every answer as it is, so they cannot be found in the text"
        )
    unknown = tokenizer.roles.get("unk")
    names = [name for name in tokenizer.special_names if name != unknown]
    numbers = {tokenizer.number(name) for name in names}
    places = [place for place, token in enumerate(tokens) if token in numbers]
    written = [*any_of(names).finditer(text)] if names else []
    found, at = {}, 0
    for number, part in zip(said, parts, strict=False):
        at += len(part)
        after = next((i for i, match in enumerate(written) if match.start() >= at), None)
        if after is None or len(places) != len(written) or text[at : written[after].start()].strip():
            raise ModelError(
                "the model's chat template ends an answer with no special token, so that a model could not learn to "
                "end there: expected one behind every answer, as <|im_end|>"
            )
        found[number] = places[after] + 1
    return found


def _marked(messages: Sequence[Message], mark: str) -> list[Message]:
    """The messages with a mark behind what the assistant says, before white space that a template may strip."""
    found = []
    for message in messages:
        if message["role"] == "assistant":
            said = message["content"].rstrip()
            message = {**message, "content": said + mark + message["content"][len(said) :]}
        found.append(message)
    return found


def fitted(
    tokenizer: Tokenizer, messages: Sequence[Message], room: int, *, now: datetime = DAY
) -> tuple[list[Message], int]:
    """Messages up to the user's last, no longer than `room` tokens with what opens the answer, and how many tokens were
    left out: the oldest exchanges first (what the system says stays), then the end of the last message.

    Raises:
        UsageError: what the template refuses, or no room even for a letter of the last message.
        ModelError: the model has no chat template, or one that does not read.
    """
    kept = [*messages]
    count = whole = len(chat_tokens(tokenizer, kept, now=now))
    first = int(kept[0]["role"] == "system") if kept else 0
    while count > room and len(kept) - first > 2:
        del kept[first : first + 2]
        count = len(chat_tokens(tokenizer, kept, now=now))
    while count > room:
        text = kept[-1].get("content") if kept else None
        if not isinstance(text, str):
            raise UsageError(
                f"the messages have {count} tokens, and there is room for {room}: give fewer or shorter ones"
            )
        _, spans = tokenizer.encode_spans(text)
        left = len(spans) - (count - room)
        # A letter of several tokens goes as a whole: all of them have its span. Every round takes a character at least.
        end = min(int(spans[left - 1, 1]), int(spans[left, 0]), len(text) - 1) if left > 0 else 0
        if end <= 0:
            least = count - len(spans) + int((spans[:, 0] < spans[:1, 1]).sum())
            raise UsageError(
                f"the chat template, what the system says and a letter of the message have {least} tokens, and there "
                f"is room for {room}: take a longer length, or a shorter target_length"
            )
        kept[-1] = {**kept[-1], "content": text[:end]}
        count = len(chat_tokens(tokenizer, kept, now=now))
    return kept, whole - count


def plain_template(opening: str, end: str) -> str:
    """A chat template of the tokens that a model has: what opens a text, and each turn with what ends a text behind it,
    the user's and the assistant's in turns; what the system says stands before the user's first words.

    So a question and its answer are the row of a source and its target, [CLS] question [SEP] answer [SEP].
    """
    return (
        f"{{{{ {json.dumps(opening)} }}}}"
        "{% set ns = namespace(system='', turn='user') %}"
        "{% for message in messages %}"
        "{% if message['role'] == 'system' and loop.first %}{% set ns.system = message['content'] + '\\n\\n' %}"
        "{% elif message['role'] != ns.turn %}"
        "{{ raise_exception('expected the roles user, assistant, user, ..., before them at most one system') }}"
        f"{{% else %}}{{{{ ns.system + message['content'] + {json.dumps(end)} }}}}"
        "{% set ns.system = '' %}{% set ns.turn = 'assistant' if ns.turn == 'user' else 'user' %}{% endif %}"
        "{% endfor %}"
    )
