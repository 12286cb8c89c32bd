"""What the methods of a LanguageModel take, and the requests that they make of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypedDict, cast

import numpy as np

from bothways.arguments import TextColumn, shown
from bothways.errors import UsageError, unknown
from bothways.inference.decoding.generate import generate
from bothways.inference.decoding.options import Generation, GenerationOptions, GenerationRequest, Options, Order
from bothways.inference.engine import Engine
from bothways.inference.writing import usual_options, writing_as
from bothways.model.abilities import Writes
from bothways.text.chat import Message, chat_tokens

Text = str | tuple[str, str]
Pairs = list[str] | list[tuple[str, str]] | Iterator[str] | Iterator[tuple[str, str]] | TextColumn


class Batching(TypedDict, total=False):
    """What every method of many texts takes.

    batch_size  how many texts are computed at once; None: as many as suit the device
    progress    True: a bar; or a function that is told (texts done, of how many)
    """

    batch_size: int | None
    progress: bool | Callable[[int, int], None]


class Infilling(Batching, total=False):
    """What `LanguageModel.infill` takes beside the texts; it says what they mean."""

    length: int | None
    longest: int
    steps: int | None
    temperature: float
    order: Order
    seed: int


class Wording(Options, total=False):
    """The fields of `GenerationOptions`, and two more.

    head     for which task, of a model that writes for several
    adapter  with which of its adapters, of a model that was loaded with some; a list: one for each prompt
    """

    head: str | None
    adapter: str | Sequence[str | None] | None


def adapted(engine: Engine, name: str | None) -> Engine:
    """The engine with one of its adapters, or with none.

    Raises:
        UsageError: there is none of that name.
    """
    if name is None:
        return engine
    if not engine.adapters:
        raise UsageError(f"adapter {name!r}: this model was loaded without any: bothways.load(MODEL, adapters={{...}})")
    if name not in engine.adapters:
        raise unknown("adapter", name, engine.adapters)
    return replace(engine.adapters[name], adapters=engine.adapters, batch_size=engine.batch_size, watch=engine.watch)


def generated(
    engine: Engine,
    prompts: list[str],
    options: GenerationOptions | list[GenerationOptions] | None,
    fields: Wording,
) -> list[Generation]:
    """What is generated for each prompt; prompts with one adapter are generated together, for each adapter in turn.

    Raises:
        UsageError: as `requests_of`; an adapter that there is not, or another number of them than of prompts.
    """
    head, names = fields.pop("head", None), fields.pop("adapter", None)
    found: dict[int, Generation] = {}
    each = [names] * len(prompts) if names is None or isinstance(names, str) else [*names]
    if len(each) != len(prompts):
        raise UsageError(f"expected an adapter, or None, for each of {len(prompts)} prompts, got {len(each)}")
    for name in dict.fromkeys(each):
        numbers = [number for number, one in enumerate(each) if one == name]
        own = writing_as(adapted(engine, name), head)
        told = (
            [options[number] for number in numbers]
            if isinstance(options, list) and len(options) == len(each)
            else options
        )
        requests = requests_of(own, [prompts[number] for number in numbers], told, cast("Options", fields))
        seeded = [
            replace(one, seeds=None if one.seeds is None else (one.seeds[0], number))
            for number, one in zip(numbers, requests, strict=True)
        ]
        found |= dict(zip(numbers, generate(own, seeded), strict=True))
    return [found[number] for number in range(len(prompts))]


def one_request(
    engine: Engine, prompt: str, options: GenerationOptions | None, fields: Wording
) -> tuple[Engine, GenerationRequest]:
    """One prompt, and the engine that goes on with it."""
    head, name = fields.pop("head", None), fields.pop("adapter", None)
    if name is not None and not isinstance(name, str):
        raise UsageError(f"expected one adapter for one prompt, got {shown(name)}")
    own = writing_as(adapted(engine, name), head)
    (request,) = requests_of(own, [prompt], options, cast("Options", fields))
    return own, request


def chat_request(
    engine: Engine,
    messages: Sequence[Message],
    options: GenerationOptions | None,
    now: datetime | None,
    fields: Options,
) -> GenerationRequest:
    """Messages as a request, by the model's own chat template."""
    tokens = chat_tokens(engine.tokenizer, messages, now=now or datetime.now())
    (request,) = requests_of(engine, [""], options, fields)
    return replace(request, prompt=np.array(tokens, dtype=np.int64))


def requests_of(
    engine: Engine,
    prompts: list[str],
    options: GenerationOptions | list[GenerationOptions] | None,
    fields: Options,
) -> list[GenerationRequest]:
    """Requests with their options; what a model was fine-tuned to write has options of its own where none are given.

    Raises:
        UsageError: options twice, or another number of them than of prompts.
    """
    if options is not None and fields:
        raise UsageError(f"expected the options as a record or by their names, got both: {', '.join(fields)} too")
    if engine.writes:
        _warn_of_cut_sources(engine, engine.writes, prompts)
    if not isinstance(options, list):
        record = options or (usual_options(engine.writes, **fields) if engine.writes else GenerationOptions(**fields))
        return [GenerationRequest(one, record, (record.seed, number)) for number, one in enumerate(prompts)]
    given: list[object] = [*options]
    if odd := [one for one in given if not isinstance(one, GenerationOptions)]:
        raise UsageError(f"options: expected a list of GenerationOptions, got {shown(odd[0])} in it")
    if len(options) != len(prompts):
        raise UsageError(f"expected options for each of {len(prompts)} prompts, got {len(options)}")
    return [GenerationRequest(*pair) for pair in zip(prompts, options, strict=True)]


def _warn_of_cut_sources(engine: Engine, writes: Writes, sources: list[str]) -> None:
    room = writes.room(engine.length)
    if cut := sum(len(tokens) > room for tokens in engine.tokenizer.encode_batch(sources)):
        warnings.warn(
            f"cut to the {room} tokens of a source that the model reads: {cut} of {len(sources)}", stacklevel=5
        )
