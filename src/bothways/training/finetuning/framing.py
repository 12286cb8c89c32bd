"""What stands around a source and its target, and the chat template of a model that is to be taught instructions."""

from __future__ import annotations

from bothways.errors import ModelError
from bothways.model import Abilities
from bothways.tasks.task import Task
from bothways.text import Tokenizer
from bothways.text.conversation import conversation, plain_template

Framing = tuple[tuple[int, ...], tuple[int, ...], int]
"""The tokens before a source and behind it, and the one that ends a target."""


def frame_of(trained: Abilities, tokenizer: Tokenizer, *, apart: bool) -> Framing:
    """[CLS], [SEP] and [SEP] where Bothways pretrained; else what the tokenizer puts around texts, and the token that
    ends a text where it puts none; of a model that was taught to write, as it was taught.

    Raises:
        ModelError: no token ends a text.
    """
    vocabulary = tokenizer.vocabulary
    told = [head.writes for head in trained.writers.values() if head.writes]
    if told and not told[0].chat:
        return (*tokenizer.prompt, *told[0].before), told[0].behind, told[0].end
    if trained.objective and not told:
        return (*tokenizer.prompt, vocabulary.cls), (vocabulary.sep,), vocabulary.sep
    if not vocabulary.ends:
        raise ModelError("this model's files name no token that ends a text, so that it cannot be taught to write one")
    end = vocabulary.sep if vocabulary.sep in vocabulary.ends else min(vocabulary.ends)
    if apart:
        return *tokenizer.frame.one, end
    before, between, _ = tokenizer.frame.two
    return before, between if end in between else (end,), end


def chat_frame(tokenizer: Tokenizer) -> Framing:
    """Nothing around a prompt, which the chat template makes, and the token that ends a turn in it.

    Raises:
        ModelError: as `conversation`.
        UsageError: a template that refuses a question and its answer.
    """
    asked, answered = ({"role": role, "content": "a"} for role in ("user", "assistant"))
    found = conversation(tokenizer, [asked, answered])
    return (), (), found.tokens[found.answers[-1][1] - 1]


def framed_for(tokenizer: Tokenizer, trained: Abilities, *tasks: Task) -> Tokenizer:
    """The tokenizer that a model has which is taught these tasks: where one of them is instructions, with its own chat
    template, or with one of the tokens that it has (`plain_template`), and with what ends a turn there ending a text.

    Raises:
        ModelError, UsageError: as `frame_of` and `chat_frame`.
    """
    if not any(task.chats for task in tasks):
        return tokenizer
    if tokenizer.chat is None:
        before, _, end = frame_of(trained, tokenizer, apart=False)
        template = plain_template("".join(tokenizer.tokens(before)), *tokenizer.tokens([end]))
        tokenizer = tokenizer.for_chat(template, end=end)
    _, _, end = chat_frame(tokenizer)
    return tokenizer.for_chat(tokenizer.chat, end=end)
