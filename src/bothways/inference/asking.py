"""What the methods of a LanguageModel take, and the requests that they make of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, TypedDict

from bothways.arguments import TextColumn, at_least, shown
from bothways.errors import UsageError
from bothways.inference.decoding.options import GenerationOptions, GenerationRequest, Options, Order
from bothways.inference.engine import Engine
from bothways.inference.writing import usual_options
from bothways.model.abilities import Writes
from bothways.terminal import bar

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


class Prompting(Batching, total=False):
    """What `LanguageModel.prompt` takes beside the texts, the pattern and the verbaliser; it says what they mean."""

    examples: list[tuple[Text, str]]
    calibrate: bool
    how: Literal["fill", "continue"] | None


class Wording(Options, total=False):
    """The fields of `GenerationOptions`, and `head`: for which task, of a model that writes for several."""

    head: str | None


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
