"""Continues texts, in the way that the objective taught: requests take slots of one batch, and a slot that is freed is
taken by the next (Orca, Yu et al. 2022, section 4.1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Protocol

import numpy as np

from bothways.errors import UsageError
from bothways.inference.chatting import chat_prompt
from bothways.inference.decoding.autoregressive import AUTOREGRESSIVE, AutoregressiveDecoding
from bothways.inference.decoding.bang import BangDecoding
from bothways.inference.decoding.beams import BeamDecoding
from bothways.inference.decoding.block_diffusion import BlockDecoding
from bothways.inference.decoding.mass import fill_runs
from bothways.inference.decoding.options import Generation, GenerationOptions, GenerationRequest
from bothways.inference.decoding.sequence import Finished, RunningSequence, detokenize, detokenize_before
from bothways.inference.decoding.unmasking import UnmaskingDecoding, unmask
from bothways.inference.engine import Engine
from bothways.model import Abilities

ROWS_AT_ONCE = 32


class Decoding(Protocol):
    """A way of decoding at work on sequences, which join, get tokens in every step, and leave.

    room  how many tokens a row may have: a sequence that has outgrown it joins anew, its older half forgotten
    """

    @property
    def room(self) -> int:
        """Tokens of a row at most."""

    def join(self, sequences: Sequence[RunningSequence]) -> None:
        """Sequences begin, behind those at work."""

    def step(self, sequences: Sequence[RunningSequence]) -> None:
        """Each sequence gets tokens, or ends."""

    def advance(self, sequences: Sequence[RunningSequence], rows: Sequence[int]) -> None:
        """Goes on with these, which were so far the ones of these numbers."""


Start = Callable[[Engine, Collection[RunningSequence], int], Decoding]
"""Begins to decode such sequences, so many rows at once."""


@dataclass(frozen=True, slots=True)
class Method:
    """start    of decoding
    beams    the same of beam search, where it can be done
    options  of those that not every method has, the ones that do something here
    """

    start: Start
    beams: Start | None = None
    options: frozenset[str] = frozenset()


_TOKEN_BY_TOKEN = ("num_beams", "no_repeat_ngram_size", "min_new_tokens", "forced_bos_token_id")
_PURPOSE = {
    **dict.fromkeys(_TOKEN_BY_TOKEN, "for models that predict one token after the other"),
    "order": "for unmasking",
}
METHODS = {
    name: Method(partial(AutoregressiveDecoding, way=way), partial(BeamDecoding, way=way), frozenset(_TOKEN_BY_TOKEN))
    for name, way in AUTOREGRESSIVE.items()
} | {
    "streams": Method(BangDecoding, options=frozenset({"steps"})),
    "blocks": Method(BlockDecoding, options=frozenset({"steps", "order"})),
    "unmask": Method(partial(UnmaskingDecoding, fill=unmask), options=frozenset({"steps", "order"})),
    "fragment": Method(partial(UnmaskingDecoding, fill=fill_runs)),
}
"""Of several that a model was taught, the first is taken."""


def method_of(abilities: Abilities, *, in_steps: bool = False) -> str | None:
    """The first method of continuing a text that the objective taught; `in_steps`: in so many passes."""
    names = [name for name, method in METHODS.items() if not in_steps or "steps" in method.options]
    return next((name for name in names if name in abilities.decoding or name in abilities.faces), None)


def generate(engine: Engine, requests: Sequence[GenerationRequest]) -> list[Generation]:
    """Every prompt's continuation, which ends after `max_new_tokens` tokens or at one that ends a text (left out):
    [SEP], or in a model of others what its generation_config.json or config.json names as eos_token_id.

    Where the objective taught to read from right to left alone, the prompt is the end of a text, and what is generated
    stands before it and ends at [CLS].

    When a text outgrows the model, its older half is forgotten: [CLS] and the newer half are read again, as training
    cuts long documents too. A request's tokens are the same alone and in any company.

    Raises:
        UsageError: an option that does nothing here.
        ModelError: the objective did not teach it.
    """
    found: dict[int, Generation] = {}
    every = [one for request in requests for one in _samples(request)]
    for grown in decode(engine, every):
        found |= {one.number: generation(engine, one, every[one.number]) for one in grown if one.finish_reason}
        engine.watch(len(found) / max(1, len(every)))
    made = iter([found[number] for number in range(len(every))])
    several = ([next(made) for _ in _samples(request)] for request in requests)
    return [replace(first, others=(*first.others, *others)) for first, *others in several]


def _samples(request: GenerationRequest) -> Sequence[GenerationRequest]:
    """One, or where several texts are sampled for a prompt, one for each with random numbers of its own."""
    options, (seeds, count) = request.options, (request.seeds, request.options.num_return_sequences)
    if count == 1 or options.num_beams:
        return [request]
    seeds = seeds or (options.seed, 0)
    return [request, *(replace(request, seeds=(*seeds, number)) for number in range(1, count))]


def stream(engine: Engine, request: GenerationRequest) -> Iterator[str]:
    """The same of one request, in the parts in which it is generated; with beams in one.

    Raises:
        UsageError: the model writes from right to left, so that what comes next stands before.
    """
    if _backward(_method(engine, request.options)):
        raise UsageError("this model writes from right to left, which cannot be streamed: use generate")
    sent = ""
    for grown in decode(engine, [request]):
        for one in grown:
            if one.finish_reason or one.options.num_beams is None:
                text = _text(engine, one, _kept(one, one.tokens))
                if text.startswith(sent) and text != sent:  # a tokenizer may yet draw the last words together
                    yield text[len(sent) :]
                    sent = text


def decode(engine: Engine, requests: Sequence[GenerationRequest]) -> Iterator[list[RunningSequence]]:
    """All requests to their end: yields, after every step, the sequences that grew."""
    sequences = [_begin(engine, request, number) for number, request in enumerate(requests)]
    yield [one for one in sequences if one.finish_reason]

    def kind(one: RunningSequence) -> tuple[str, bool]:
        return one.method, one.options.num_beams is not None

    growing = [one for one in sequences if not one.finish_reason]
    for (name, beams), some in groupby(sorted(growing, key=kind), kind):
        method = METHODS[name]
        start = method.beams if beams and method.beams else method.start
        # What may become longest first, that nobody runs alone in the end; neighbours of like length are read together.
        yield from _run(engine, start, sorted(some, key=lambda one: (-one.options.max_new_tokens, one.given)))


def _run(engine: Engine, start: Start, sequences: Sequence[RunningSequence]) -> Iterator[list[RunningSequence]]:
    waiting, running = deque(sequences), list[RunningSequence]()
    rows = max(engine.batch_size or ROWS_AT_ONCE, max(one.slots for one in sequences))
    decoding = start(engine, sequences, min(rows, sum(one.slots for one in sequences)))
    while waiting or running:
        joining: list[RunningSequence] = []
        while waiting and sum(one.slots for one in (*running, *joining, waiting[0])) <= rows:
            joining.append(waiting.popleft())
        for batch in engine.batches([len(one.read) + min(len(one.row()), decoding.room) for one in joining]):
            some = [joining[i] for i in batch]
            for one in some:
                one.truncate(decoding.room)
            decoding.join(some)
            running += some
        decoding.step(running)
        yield running
        waiting.extendleft(one for one in running if not one.finish_reason and one.outgrown(decoding.room))
        kept = _without_gaps([not (one.finish_reason or one.outgrown(decoding.room)) for one in running])
        running = [running[number] for number in kept]
        decoding.advance(running, kept)


def _without_gaps(stays: Sequence[bool]) -> list[int]:
    """The numbers of those that stay, each in its place, but that the last ones fill the gaps."""
    numbers = [number for number, stay in enumerate(stays) if stay]
    late = deque(number for number in numbers if number >= len(numbers))
    return [number if stays[number] else late.popleft() for number in range(len(numbers))]


def _method(engine: Engine, options: GenerationOptions) -> str:
    """
    Raises:
        UsageError: an option that does nothing for this model.
        ModelError: the objective taught no method.
    """
    name = method_of(engine.abilities, in_steps=options.steps is not None)
    if name is None:
        raise engine.cannot("decoder" if options.steps is None else "unmask")
    default = GenerationOptions()
    for option, purpose in _PURPOSE.items():
        if getattr(options, option) != getattr(default, option) and option not in METHODS[name].options:
            raise UsageError(f"{option} is {purpose}, and this one decodes by {name}: leave it out")
    return name


def _backward(method: str) -> bool:
    return method in AUTOREGRESSIVE and AUTOREGRESSIVE[method].backward


def _of_its_own(method: str) -> bool:
    """Whether what is generated is a text of its own, which does not go on from the prompt."""
    return method in AUTOREGRESSIVE and AUTOREGRESSIVE[method].encoder


def continues(engine: Engine, options: GenerationOptions) -> bool:
    """Whether what is generated goes on from the prompt, rather than being a text of its own.

    Raises:
        UsageError, ModelError: as `generate`.
    """
    return not (engine.writes or _of_its_own(_method(engine, options)))


def source_room(engine: Engine, options: GenerationOptions) -> int | None:
    """How many tokens of a source are read; None: the prompt is gone on from, or is a conversation.

    Raises:
        UsageError, ModelError: as `generate`.
    """
    if engine.writes:
        return None if engine.writes.chat else engine.writes.room(engine.length)
    if continues(engine, options):
        return None
    return engine.length - sum(map(len, engine.around(closed=True)))


def _begin(engine: Engine, request: GenerationRequest, number: int) -> RunningSequence:
    options, vocabulary, method = request.options, engine.tokenizer.vocabulary, _method(engine, request.options)
    for name in ("eos_token_id", "forced_bos_token_id"):
        if (token := getattr(options, name)) is not None and token >= engine.model.config.vocabulary:
            raise UsageError(f"{name}={token}: the model has {engine.model.config.vocabulary:,} tokens")
    backward, tokens, (before, after) = _backward(method), _tokens(engine, request), engine.around(closed=True)
    opening = (vocabulary.sep,) if backward else before if before or len(tokens) else engine.tokenizer.nothing
    read = np.zeros(0, dtype=np.int64)
    if _of_its_own(method):
        closed = after and tuple(tokens[-len(after) :].tolist()) == after
        tokens = tokens[: -len(after)] if closed else tokens
        room = engine.length - len(before) - len(after)
        tokens, read = tokens[:0], np.array([*before, *tokens[:room], *after] or engine.tokenizer.nothing)
        opening = vocabulary.start
    ends = frozenset({vocabulary.cls}) if backward else vocabulary.ends
    return RunningSequence(
        tokens[::-1] if backward else tokens,
        options,
        np.random.default_rng(request.seeds or (options.seed, 0)),
        ends=ends if options.eos_token_id is None else frozenset({options.eos_token_id}),
        opening=opening,
        read=read,
        number=number,
        method=method,
    )


def _tokens(engine: Engine, request: GenerationRequest) -> np.ndarray:
    """Those of the prompt, without what stands before every text where the prompt has it; for a model that writes for a
    source, a text is the source, and for one that was taught instructions, what a user says."""
    prompt = request.prompt
    if engine.writes and engine.writes.chat and isinstance(prompt, str):
        return chat_prompt(engine, [{"role": "user", "content": prompt}])
    if engine.writes and isinstance(prompt, str):
        source = engine.writes.prompt(engine.tokenizer.encode(prompt), engine.length)
        return np.array(source[len(engine.writes.opening) :], dtype=np.int64)
    if isinstance(prompt, str) and not request.options.special_tokens:
        return np.array(engine.tokenizer.encode(prompt), dtype=np.int64)
    tokens = np.array(engine.tokenizer.encode_named(prompt) if isinstance(prompt, str) else prompt, dtype=np.int64)
    whole, soft = engine.around(closed=False)[0], len(engine.tokenizer.prompt)
    for before in (whole[:soft], whole[soft:]):  # of chats whose template begins otherwise, a soft prompt alone
        if tuple(tokens[: len(before)].tolist()) == before:
            tokens = tokens[len(before) :]
    return tokens


def generation(engine: Engine, one: RunningSequence, request: GenerationRequest) -> Generation:
    """What was generated, as text too."""
    assert one.finish_reason
    prompt = request.prompt if isinstance(request.prompt, str) else engine.tokenizer.decode(request.prompt)
    made = [_generated(engine, one, candidate, prompt) for candidate in one.candidates]
    return replace(made[0], others=tuple(made[1:]))


def _generated(engine: Engine, one: RunningSequence, candidate: Finished, prompt: str) -> Generation:
    tokens = _kept(one, candidate.tokens)
    if _backward(one.method):
        tokens = tokens[::-1]
        text = detokenize_before(engine.tokenizer, tokens, one.prompt[::-1])
        return Generation(text, tokens, candidate.logprob, candidate.finish_reason, text + prompt)
    text = _text(engine, one, tokens)
    own = engine.writes or _of_its_own(one.method)
    return Generation(text, tokens, candidate.logprob, candidate.finish_reason, text if own else prompt + text)


def _kept(one: RunningSequence, tokens: Sequence[int]) -> tuple[int, ...]:
    """The tokens without repeats, where it is asked for."""
    repeats = one.options.remove_repeats
    pairs = zip(tokens, (None, *tokens), strict=False)
    return tuple(token for token, before in pairs if not repeats or token != before)


def _text(engine: Engine, one: RunningSequence, tokens: Sequence[int]) -> str:
    """Tokens as the text that goes on from the prompt, or as one of its own where a model writes for a source."""
    if engine.writes:
        return engine.tokenizer.decode(tokens).replace("\ufffd", "").strip()
    return detokenize(engine.tokenizer, one.prompt, tokens)
