"""What is asked of `generate`, and what it returns: requests with options, and generations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self, TypedDict, get_args

import numpy as np
from pydantic import Field

from bothways.arguments import all_checked, at_least
from bothways.errors import UsageError, unknown
from bothways.inference.decoding.sampling import Sampling

Order = Literal["confidence", "random"]
FinishReason = Literal["stop", "length"]


CHAT: Options = {"max_new_tokens": 512}
"""Of `bothways chat`, where nothing says otherwise."""
JUDGED: Options = {"max_new_tokens": 128, "temperature": 0.0}
"""Of answers that are judged, by a model that was not fine-tuned to write."""


class Options(TypedDict, total=False):
    """The fields of `GenerationOptions`, as keyword arguments; that record says what they mean."""

    max_new_tokens: int
    temperature: float
    top_k: int | None
    top_p: float
    seed: int
    num_beams: int | None
    length_penalty: float
    no_repeat_ngram_size: int | None
    eos_token_id: int | None
    min_new_tokens: int
    forced_bos_token_id: int | None
    num_return_sequences: int
    steps: int | None
    order: Order
    remove_repeats: bool
    special_tokens: bool


@all_checked
@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How a text is continued.

    Prompt i samples with random numbers of (seed, i); with options of its own, of (seed, 0). The score of a beam is the
    sum of its log-probabilities, divided by ((5 + tokens) / 6) to the power of length_penalty, [SEP] counted (GNMT, Wu
    et al. 2016, section 7, equation 14). That a run comes once holds for the prompt too, unless it is read
    bidirectionally: such a source may be quoted.
    """

    max_new_tokens: Annotated[int, Field(description="How many tokens to add at most.", ge=0)] = 40
    temperature: Annotated[
        float, Field(description="The logits are divided by it; 0 takes the likeliest token every time.", ge=0)
    ] = 1.0
    top_k: Annotated[int | None, Field(description="Choose among the so many likeliest tokens.", ge=1)] = None
    top_p: Annotated[float, Field(description="Choose among the likeliest tokens that hold this share together.")] = 1.0
    seed: Annotated[int, Field(description="The same seed generates the same text.", ge=0)] = 0
    num_beams: Annotated[
        int | None,
        Field(description="Sample nothing; look for the likeliest text with so many candidates.", ge=1),
    ] = None
    length_penalty: Annotated[float, Field(description="Of beams: 0 is for short texts, 1 for long ones.")] = 0.6
    no_repeat_ngram_size: Annotated[int | None, Field(description="No run of so many tokens comes twice.")] = None
    eos_token_id: Annotated[
        int | None, Field(description="The token that ends a text; left out, those that the model's files name.")
    ] = None
    min_new_tokens: Annotated[int, Field(description="No text ends before it has so many tokens.", ge=0)] = 0
    forced_bos_token_id: Annotated[
        int | None, Field(description="The token that every text begins with, as the name of a language.", ge=0)
    ] = None
    num_return_sequences: Annotated[
        int, Field(description="How many texts for a prompt: further samples, or the next best beams.", ge=1)
    ] = 1
    steps: Annotated[
        int | None,
        Field(description="By unmasking: in how many passes all is predicted; left out, one token a pass."),
    ] = None
    order: Annotated[
        Order, Field(description="By unmasking: the most confident places first, confidence, or at random, random.")
    ] = "confidence"
    remove_repeats: Annotated[
        bool,
        Field(
            description="Of a token that stands there several times in a row, one is kept, as texts of one pass need."
        ),
    ] = False
    special_tokens: Annotated[
        bool,
        Field(
            description="Names of special tokens in the prompt are those tokens, as a chat template writes them; else "
            "they are characters."
        ),
    ] = False

    def __post_init__(self) -> None:
        at_least(0, "max_new_tokens", self.max_new_tokens, "how many tokens to add")
        at_least(0, "seed", self.seed, "a whole number")
        at_least(1, "num_beams", self.num_beams, "how many candidates are kept")
        at_least(1, "no_repeat_ngram_size", self.no_repeat_ngram_size, "the length of a run that may come once")
        at_least(0, "eos_token_id", self.eos_token_id, "the id of a token")
        at_least(0, "min_new_tokens", self.min_new_tokens, "how many tokens a text has at least")
        at_least(0, "forced_bos_token_id", self.forced_bos_token_id, "the id of a token")
        at_least(1, "num_return_sequences", self.num_return_sequences, "how many texts")
        if self.min_new_tokens > self.max_new_tokens:
            raise UsageError(
                f"min_new_tokens {self.min_new_tokens} is more than max_new_tokens {self.max_new_tokens}: take fewer"
            )
        if self.num_return_sequences > (self.num_beams or (math.inf if self.temperature else 1)):
            raise UsageError(
                f"num_return_sequences {self.num_return_sequences} is more texts than there are: expected as many "
                "num_beams or more, or a temperature above 0 to sample them"
            )
        if self.num_beams and (self.temperature not in (0, 1) or self.top_k is not None or self.top_p != 1):
            raise UsageError(
                "beams look for the likeliest text and sample nothing: leave out temperature, top_k and top_p, or "
                "num_beams"
            )
        Unmasking(self.sampling, self.steps, self.order)

    @property
    def sampling(self) -> Sampling:
        """How a token is chosen."""
        return Sampling(self.temperature, self.top_k, self.top_p)

    def unmasking(self, places: int) -> Unmasking:
        """How so many of the `max_new_tokens` places are predicted: with their share of the steps."""
        steps = None if self.steps is None else max(1, round(self.steps * places / self.max_new_tokens))
        return Unmasking(self.sampling, steps, self.order)


@dataclass(frozen=True, slots=True)
class Unmasking:
    """How hidden places are predicted: some of them in each of `steps` passes (LLaDA, Nie et al. 2025, section 2.4).

    sampling  how a token is chosen at every place
    steps    how many passes; None, or more than there are places: one token a pass
    order    what is kept of a pass: the tokens of the highest probability, or some at random
    """

    sampling: Sampling
    steps: int | None = None
    order: Order = "confidence"

    def __post_init__(self) -> None:
        at_least(1, "steps", self.steps, "in how many passes everything is predicted")
        if self.order not in get_args(Order):
            raise unknown("order", self.order, get_args(Order))


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What is to be continued, and how.

    prompt  a text; or token ids [T] int64, with what stands before every text
    seeds   of the request's own random numbers; None: options.seed, and 0
    """

    prompt: str | np.ndarray
    options: GenerationOptions = GenerationOptions()
    seeds: tuple[int, ...] | None = None

    @classmethod
    def each(cls, prompts: Sequence[str | np.ndarray], options: GenerationOptions, before: int = 0) -> list[Self]:
        """Of prompts that stand behind so many others: each has random numbers of its own."""
        return [cls(one, options, (options.seed, number)) for number, one in enumerate(prompts, before)]


@dataclass(frozen=True, slots=True)
class Generation:
    """What was generated; printed, it is its text.

    text           without the prompt, special tokens left out
    tokens         their ids, without the one that ended them
    logprob        the sum of the log-probabilities in nats that the model gave them, the one that ended them included,
                   each before temperature, top_k and top_p, and in the pass that chose it
    finish_reason  "stop": a token that ends a text; "length": max_new_tokens
    full_text      the prompt with the text: behind it, or before it where the model writes from right to left
    others         further texts for the prompt, where several were asked for: samples, or beams, the best first
    """

    text: str
    tokens: tuple[int, ...]
    logprob: float = field(compare=False)  # rounding depends on the batch
    finish_reason: FinishReason
    full_text: str = field(repr=False)
    others: tuple[Generation, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.text
