"""What a model that answers is taught by preferences: which of two answers is better, or whether one is good; and by
rewards of the answers that it gives itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bothways.batch import Sample
from bothways.errors import UsageError
from bothways.model import TaskHead
from bothways.model.abilities import WORDS
from bothways.tasks.messages import said_in
from bothways.tasks.preferred import PreferredAnswer, preference_of, prompt_of, roles_of_preferences
from bothways.tasks.records import Columns
from bothways.tasks.task import Example
from bothways.tasks.text2text import WritingTask, laid
from bothways.text import Tokenizer
from bothways.text.chat import chat_tokens
from bothways.text.conversation import DAY, conversation, fitted

_ANSWERS = TaskHead("instruct", WORDS, (), "text", "encoder", texts=1)
"""What the model is used for in the end."""


class Prefer(WritingTask):
    """Records hold prompt, chosen and rejected; or prompt, completion and label."""

    name, metric, longest, chats, refers = "prefer", "accuracy", 256, True, True

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """chosen and rejected, and prompt where these are no conversations; or prompt, completion and label."""
        return roles_of_preferences(fields) if gold else (("prompt",), ("system", "id"))

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """A prompt; gold is one answer or two, the chosen first."""
        messages, answers = preference_of(record, columns) if gold else (prompt_of(record, columns), None)
        return Example(columns.id(record, number), (said_in(messages),), answers, place, messages=messages)

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """That of instructions."""
        return _ANSWERS

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """The prompt, or where answers are known the prompt with each of them, in their order. Of a prompt that is too
        long the oldest exchanges are left out, of an answer the end.

        Raises:
            UsageError: what the chat template refuses, no room, or two answers that begin alike and are cut.
        """
        if example.gold is None:
            return [answered(example, None, tokenizer, head, length=length)]
        found = [answered(example, answer, tokenizer, head, length=length) for answer in example.gold]
        if len(found) > 1 and found[0].tokens.tolist() == found[1].tokens.tolist():
            raise UsageError(
                f"expected answers that differ within the {head.writes and head.writes.target} tokens that the model "
                "writes, got two that begin alike. How many these are is a setting: --set target_length=TOKENS"
            )
        return found


class Grpo(WritingTask):
    """Records hold a prompt, and whatever a reward of the user's own reads: gold is the whole record."""

    name, metric, longest, chats, refers = "grpo", "reward", 128, True, True

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """prompt."""
        return ("prompt",), ("system", "id")

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """A prompt; gold is the record."""
        messages = prompt_of(record, columns)
        known = dict(record) if gold else None
        return Example(columns.id(record, number), (said_in(messages),), known, place, messages=messages)

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """That of instructions."""
        return _ANSWERS

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """The prompt alone: the model writes the answers.

        Raises:
            UsageError: what the chat template refuses, or no room.
        """
        return [answered(example, None, tokenizer, head, length=length)]


def answered(
    example: Example, answer: PreferredAnswer | None, tokenizer: Tokenizer, head: TaskHead, *, length: int
) -> Sample:
    """The messages of an example with an answer, which is the target; without one, with what opens it."""
    writes = head.writes
    assert writes is not None
    messages, cut = fitted(tokenizer, example.messages, writes.room(length))
    if answer is None:
        return laid(chat_tokens(tokenizer, messages, now=DAY), [], name="prompt", cut=cut)
    found = conversation(tokenizer, [*messages, {"role": "assistant", "content": answer.text}])
    begin, end = found.answers[-1]
    last = min(end, begin + writes.target)
    return laid(found.tokens[:begin], found.tokens[begin:last], name="prefer", cut=cut + end - last)


def check_pairs(examples: Sequence[Example], loss: str) -> None:
    """
    Raises:
        UsageError: answers one by one, for a loss that compares two.
    """
    if loss != "kto" and (odd := next((one for one in examples if len(one.gold) == 1), None)):
        raise UsageError(
            f"{odd.place}: {loss} compares two answers to a prompt: expected columns for chosen and rejected, got one "
            f"answer with a label. Take {'--task prefer ' if loss == 'reward' else ''}--set loss=kto"
        )
