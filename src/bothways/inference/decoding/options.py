"""How a text is to be written: the options of `generate`, the text while it grows, and how it is spelt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict, get_args

import numpy as np

from bothways.errors import UsageError, unknown
from bothways.inference.decoding.sampling import Sampling
from bothways.text import Tokenizer

Order = Literal["confidence", "random"]


class Options(TypedDict, total=False):
    """The fields of `GenerationOptions`, as keyword arguments; that record says what they mean."""

    max_new_tokens: int
    temperature: float
    top_k: int | None
    top_p: float
    seed: int
    beams: int | None
    length_penalty: float
    no_repeat: int | None
    steps: int | None
    order: Order
    special_tokens: bool


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How a text is continued.

    max_new_tokens  how many tokens to add at most
    temperature     the logits are divided by it; 0 takes the likeliest token every time
    top_k           draw among the so many likeliest tokens only
    top_p           draw among the likeliest tokens that hold this share together
    seed            prompt i draws from a random stream of (seed, i)
    beams           instead of sampling, look for the likeliest text, with so many candidates at a time
    length_penalty  of beams: the sum of the log-probabilities is divided by ((5 + tokens) / 6) to this power, [SEP]
                    counted, so 0 is for short texts and 1 for long ones (GNMT, Wu et al. 2016, section 7, equation 14)
    no_repeat       no run of so many tokens comes twice; the prompt counts, unless it is read from all sides: such a
                    source may be quoted
    steps           of unmasking: in how many passes everything is said; None: one token a pass
    order           of unmasking: the most confident places first, or places at random
    special_tokens  the names of special tokens in the prompt are those tokens, as a chat template writes them; else
                    they are characters
    """

    max_new_tokens: int = 40
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0
    beams: int | None = None
    length_penalty: float = 0.6
    no_repeat: int | None = None
    steps: int | None = None
    order: Order = "confidence"
    special_tokens: bool = False

    def __post_init__(self) -> None:
        if self.max_new_tokens < 0:
            raise UsageError(f"max_new_tokens is how many tokens to add, 0 or more, got {self.max_new_tokens}")
        if self.seed < 0:
            raise UsageError(f"seed is a whole number, 0 or more, got {self.seed}")
        if self.beams is not None and self.beams < 1:
            raise UsageError(f"beams is how many candidates are kept, 1 or more, got {self.beams}")
        if self.no_repeat is not None and self.no_repeat < 1:
            raise UsageError(f"no_repeat is the length of a run that may come once, 1 or more, got {self.no_repeat}")
        if self.beams and (self.temperature not in (0, 1) or self.top_k is not None or self.top_p != 1):
            raise UsageError(
                "beams look for the likeliest text and draw nothing: leave out temperature, top_k and top_p, or beams"
            )
        Unmasking(self.sampling, self.steps, self.order)

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_k, self.top_p)

    def unmasking(self, places: int) -> Unmasking:
        """How so many of the `max_new_tokens` places are said: with their share of the steps."""
        steps = None if self.steps is None else max(1, round(self.steps * places / self.max_new_tokens))
        return Unmasking(self.sampling, steps, self.order)


@dataclass(frozen=True, slots=True)
class Unmasking:
    """How hidden places are said: some of them in each of `steps` passes (LLaDA, Nie et al. 2025, section 2.4).

    sampling  how a token is chosen at every place
    steps    how many passes; None, or more than there are places: one token a pass
    order    what is kept of a pass: the tokens of the highest probability, or some at random
    """

    sampling: Sampling
    steps: int | None = None
    order: Order = "confidence"

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"steps is in how many passes everything is said, 1 or more, got {self.steps}")
        if self.order not in get_args(Order):
            raise unknown("order", self.order, get_args(Order))


@dataclass(slots=True)
class GrowingText:
    """A text being written; the model reads its opening and the tokens from `start` on.

    begun   the prompt's tokens
    stream  its own random numbers
    limit   how many tokens may be added
    new     those that were
    ended   nothing more is to be added
    source  how many of the tokens are read as the prompt
    opening what stands before the text, [CLS]
    """

    begun: np.ndarray
    stream: np.random.Generator
    limit: int
    new: list[int] = field(default_factory=list)
    ended: bool = False
    start: int = 0
    source: int = 0
    opening: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.source = len(self.begun)
        self.ended = not self.limit

    @property
    def left(self) -> int:
        """How many tokens may still be added."""
        return 0 if self.ended else self.limit - len(self.new)

    def forget(self, written: int, room: int) -> None:
        """Where the opening and all tokens are more than `room`, the older half is forgotten for good.

        What is kept is then read as a prompt.
        """
        count = len(self.begun) + written
        if len(self.opening) + count - self.start > room:
            self.start = self.source = count
            self.start -= room // 2

    def row(self, new: Sequence[int]) -> np.ndarray:
        """The opening and the tokens that are read, `new` being what was written."""
        return np.array([*self.opening, *[*self.begun.tolist(), *new][self.start :]], dtype=np.int64)

    @property
    def prompt(self) -> int:
        """How many of the row's tokens, the opening counted, are the prompt."""
        return len(self.opening) + self.source - self.start

    def add(self, token: int, ends: Collection[int]) -> None:
        if token in ends:
            self.ended = True
        elif self.left:
            self.new.append(token)
            self.ended = len(self.new) == self.limit

    def write(self, tokens: np.ndarray) -> None:
        """As many of the tokens as may be added."""
        self.new += tokens[: self.left].tolist()
        self.ended = len(self.new) == self.limit


def spell(tokenizer: Tokenizer, begun: Sequence[int] | np.ndarray, new: Sequence[int]) -> str:
    """The new tokens as text that goes on from what stands before them; half a character, wherever, is left out."""
    before, after = tokenizer.decode(begun), tokenizer.decode([*begun, *new])
    text = after.removeprefix(before) if after.startswith(before) else tokenizer.decode(new)
    return text.replace("\ufffd", "")


def spell_before(tokenizer: Tokenizer, new: Sequence[int], begun: Sequence[int] | np.ndarray) -> str:
    """The new tokens as text that goes on in what stands behind them."""
    behind, whole = tokenizer.decode(begun), tokenizer.decode([*new, *begun])
    text = whole.removesuffix(behind) if whole.endswith(behind) else tokenizer.decode(new)
    return text.replace("\ufffd", "")
