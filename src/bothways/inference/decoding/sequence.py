"""A sequence while it is generated, and how its tokens become text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bothways.inference.decoding.options import FinishReason, GenerationOptions
from bothways.text import Tokenizer


@dataclass(frozen=True, slots=True)
class Finished:
    """A text that was generated: its tokens, without the one that ended them, and the sum of their log-probabilities in
    nats, that one included."""

    tokens: tuple[int, ...]
    logprob: float
    finish_reason: FinishReason


@dataclass(slots=True, eq=False)
class RunningSequence:
    """What is generated for one request; the model reads its opening and the tokens from `start` on.

    prompt   [P] the prompt's tokens
    read     [S] what an encoder reads: then there is no prompt, and the row is what a decoder writes
    random   its own random numbers
    ends     the tokens that end it
    opening  what stands before the text, [CLS]
    number   of its request
    method   of decoding
    tokens   those generated, without the one that ended them
    logprob  their sum in nats, the one that ended them included
    source   how many of prompt and tokens are read as the prompt
    others   of a search, the next best
    """

    prompt: np.ndarray
    options: GenerationOptions
    random: np.random.Generator
    ends: frozenset[int] = frozenset()
    opening: tuple[int, ...] = ()
    read: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    number: int = 0
    method: str = ""
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    finish_reason: FinishReason | None = None
    start: int = 0
    source: int = 0
    others: tuple[Finished, ...] = ()

    def __post_init__(self) -> None:
        self.source = len(self.prompt)
        if not self.options.max_new_tokens:
            self.finish_reason = "length"

    @property
    def candidates(self) -> list[Finished]:
        """What was generated, and others where several were asked for."""
        assert self.finish_reason
        return [Finished(tuple(self.tokens), self.logprob, self.finish_reason), *self.others]

    @property
    def remaining(self) -> int:
        """How many tokens may still be added."""
        return 0 if self.finish_reason else self.options.max_new_tokens - len(self.tokens)

    @property
    def given(self) -> int:
        """How many tokens of the prompt, or of a source, are read."""
        return len(self.prompt) + len(self.read)

    @property
    def slots(self) -> int:
        """How many rows of a batch it needs."""
        return self.options.num_beams or 1

    @property
    def longest(self) -> int:
        """How many tokens its row would have in the end if nothing were forgotten."""
        return len(self.opening) + len(self.prompt) + self.options.max_new_tokens

    def outgrown(self, room: int) -> bool:
        """Whether the opening and all tokens are more than `room`."""
        return len(self.opening) + len(self.prompt) + len(self.tokens) - self.start > room

    def truncate(self, room: int) -> None:
        """Where it has outgrown the room, the older half is forgotten for good, and the rest is read as a prompt."""
        if self.outgrown(room):
            self.source = len(self.prompt) + len(self.tokens)
            self.start = self.source - room // 2

    def row(self, tokens: Sequence[int] | None = None) -> np.ndarray:
        """The opening and the tokens that are read, `tokens` being those generated."""
        known = [*self.prompt.tolist(), *(self.tokens if tokens is None else tokens)]
        return np.array([*self.opening, *known[self.start :]], dtype=np.int64)

    @property
    def prompt_length(self) -> int:
        """How many of the row's tokens, the opening counted, are the prompt."""
        return len(self.opening) + self.source - self.start

    def add(self, token: int, logprob: float) -> None:
        """One token more, where one may still be added."""
        if not self.remaining:
            return
        self.logprob += logprob
        if token in self.ends:
            self.finish_reason = "stop"
            return
        self.tokens.append(token)
        if len(self.tokens) == self.options.max_new_tokens:
            self.finish_reason = "length"


def detokenize(tokenizer: Tokenizer, prompt: Sequence[int] | np.ndarray, tokens: Sequence[int]) -> str:
    """The tokens as text that goes on from what stands before them; half a character, wherever, is left out."""
    before, after = tokenizer.decode(prompt), tokenizer.decode([*prompt, *tokens])
    text = after.removeprefix(before) if after.startswith(before) else tokenizer.decode(tokens)
    return text.replace("\ufffd", "")


def detokenize_before(tokenizer: Tokenizer, tokens: Sequence[int], prompt: Sequence[int] | np.ndarray) -> str:
    """The tokens as text that goes on in what stands behind them."""
    behind, whole = tokenizer.decode(prompt), tokenizer.decode([*tokens, *prompt])
    text = whole.removesuffix(behind) if whole.endswith(behind) else tokenizer.decode(tokens)
    return text.replace("\ufffd", "")
