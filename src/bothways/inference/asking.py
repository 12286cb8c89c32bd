"""What the methods of a LanguageModel take, and the requests that they make of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Literal, TypedDict, cast

import numpy as np

from bothways.arguments import TextColumn, at_least, shown
from bothways.errors import UsageError, unknown
from bothways.inference.chatting import chat_prompt
from bothways.inference.decoding.generate import generate, source_room
from bothways.inference.decoding.options import Generation, GenerationOptions, GenerationRequest, Options, Order
from bothways.inference.engine import Engine
from bothways.inference.pipeline import head_for
from bothways.inference.writing import chatting_as, usual_options, writing_as
from bothways.terminal import bar
from bothways.text.chat import Message

Text = str | tuple[str, str]
Pairs = list[str] | list[tuple[str, str]] | Iterator[str] | Iterator[tuple[str, str]] | TextColumn


class Batching(TypedDict, total=False):
    """What every method of many texts takes.

    batch_size  how many texts are computed at once; None: as many as suit the device
    progress    True: a bar; or a function that is told (texts done, of how many)
    """

    batch_size: int | None
    progress: bool | Callable[[int, int], None]


class InfillKwargs(Batching, total=False):
    """What `LanguageModel.infill` takes beside the texts; it says what they mean."""

    length: int | None
    longest: int
    steps: int | None
    temperature: float
    order: Order
    seed: int


class PromptKwargs(Batching, total=False):
    """What `LanguageModel.prompt` takes beside the texts, the pattern and the verbaliser; it says what they mean."""

    examples: list[tuple[Text, str]]
    calibrate: bool
    how: Literal["fill", "continue"] | None


class GenerateKwargs(Options, total=False):
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
    fields: GenerateKwargs,
    *,
    task: str = "",
) -> list[Generation]:
    """What is generated for each prompt; prompts with one adapter are generated together, for each adapter in turn.
    With a `task` it is a head of that task that writes, the adapter's own where it has one.

    Raises:
        UsageError: as `requests_of`; an adapter that there is not, or another number of them than of prompts.
        ModelError: as `writing_as` and `head_for`.
    """
    head, names = fields.pop("head", None), fields.pop("adapter", None)
    found: dict[int, Generation] = {}
    each = [names] * len(prompts) if names is None or isinstance(names, str) else [*names]
    if len(each) != len(prompts):
        raise UsageError(f"expected an adapter, or None, for each of {len(prompts)} prompts, got {len(each)}")
    options = _fitting(options, len(prompts))
    for name in dict.fromkeys(each):
        numbers = [number for number, one in enumerate(each) if one == name]
        with_it = adapted(engine, name)
        own = writing_as(with_it, head_for(with_it, task, head).name if task else head)
        told = [options[number] for number in numbers] if isinstance(options, list) else options
        requests = requests_of(own, [prompts[number] for number in numbers], told, cast("Options", fields))
        seeded = [
            replace(one, seeds=None if one.seeds is None else (one.seeds[0], number))
            for number, one in zip(numbers, requests, strict=True)
        ]
        watched = replace(own, watch=partial(_watch_part, engine, len(found) / len(each), len(numbers) / len(each)))
        found |= dict(zip(numbers, generate(watched, seeded), strict=True))
    return [found[number] for number in range(len(prompts))]


def _watch_part(engine: Engine, done: float, part: float, share: float) -> None:
    """Tells of a share of a part, behind what is done."""
    engine.watch(done + share * part)


def one_name(fields: GenerateKwargs) -> str | None:
    """The adapter of one prompt, taken out of the fields.

    Raises:
        UsageError: several of them.
    """
    name = fields.pop("adapter", None)
    if name is not None and not isinstance(name, str):
        raise UsageError(f"expected one adapter for one prompt, got {shown(name)}")
    return name


def one_request(
    engine: Engine, prompt: str, options: GenerationOptions | None, fields: GenerateKwargs
) -> tuple[Engine, GenerationRequest]:
    """One prompt, and the engine that goes on with it."""
    own = writing_as(adapted(engine, one_name(fields)), fields.pop("head", None))
    (request,) = requests_of(own, [prompt], options, cast("Options", fields))
    return own, request


def chat_request(
    engine: Engine,
    messages: Sequence[Message],
    options: GenerationOptions | None,
    now: datetime,
    fields: GenerateKwargs,
) -> tuple[Engine, GenerationRequest]:
    """The engine as it answers messages, and the request for an answer.

    Raises:
        UsageError, ModelError: as `chatting_as`, `chat_prompt` and `requests_of`.
    """
    engine = chatting_as(adapted(engine, one_name(fields)), fields.pop("head", None))
    (request,) = requests_of(engine, [chat_prompt(engine, messages, now=now)], options, cast("Options", fields))
    return engine, request


def batched(engine: Engine, count: int, batching: Batching) -> Engine:
    """The engine for so many texts.

    Raises:
        UsageError: no number of texts, or nothing that could be told how many are done.
    """
    size, progress = batching.get("batch_size"), batching.get("progress", False)
    at_least(1, "batch_size", size, "how many texts are computed at once")
    if not callable(progress) and not isinstance(progress, bool):
        raise UsageError(f"progress: expected True, False or a function, got {shown(progress)}")
    if progress is False or not count:
        return replace(engine, batch_size=size)
    tell = bar(count) if progress is True else progress
    return replace(engine, batch_size=size, watch=lambda share: tell(int(share * count), count))


def requests_of(
    engine: Engine,
    prompts: Sequence[str | np.ndarray],
    options: GenerationOptions | list[GenerationOptions] | None,
    fields: Options,
) -> list[GenerationRequest]:
    """Requests with their options; what a model was fine-tuned to write has options of its own where none are given.

    Raises:
        UsageError: options twice, or another number of them than of prompts.
    """
    if options is not None and fields:
        raise UsageError(f"expected the options as a record or by their names, got both: {', '.join(fields)} too")
    given = _fitting(options, len(prompts))
    record = given[0] if isinstance(given, list) and given else given
    if not isinstance(record, GenerationOptions):
        record = usual_options(engine.writes, **fields) if engine.writes else GenerationOptions(**fields)
    room, sources = source_room(engine, record), [one for one in prompts if isinstance(one, str)]
    if room is not None and (cut := cut_sources(engine, sources, room)):
        warnings.warn(CUT.format(room, cut, len(sources)), stacklevel=4)
    if not isinstance(given, list):
        return GenerationRequest.each(prompts, record)
    return [GenerationRequest(*pair) for pair in zip(prompts, given, strict=True)]


def _fitting(options: object, count: int) -> GenerationOptions | list[GenerationOptions] | None:
    """One record for all, or one for each of so many prompts.

    Raises:
        UsageError: what are no options, or another number of them.
    """
    if options is None or isinstance(options, GenerationOptions):
        return options
    if not isinstance(options, list | tuple):
        raise UsageError(
            f"options: expected GenerationOptions, or a list of them, got {shown(options)}. Their names are keywords: "
            "generate(prompt, max_new_tokens=40)"
        )
    if odd := [one for one in options if not isinstance(one, GenerationOptions)]:
        raise UsageError(f"options: expected a list of GenerationOptions, got {shown(odd[0])} in it")
    if len(options) != count:
        raise UsageError(f"expected options for each of {count} prompts, got {len(options)}")
    return [*options]


CUT = "cut to the {} tokens of a source that the model reads: {} of {}"


def cut_sources(engine: Engine, sources: Sequence[str], room: int) -> int:
    """How many sources have more tokens than are read of one."""
    return sum(len(tokens) > room for tokens in engine.tokenizer.encode_batch(sources))
