"""Texts for sources, by a model that was fine-tuned to write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bothways.errors import ModelError, UsageError, unknown
from bothways.inference.decoding.generate import generate
from bothways.inference.decoding.options import Generation, GenerationOptions, GenerationRequest, Options
from bothways.inference.engine import Engine
from bothways.model import TaskHead
from bothways.model.abilities import Writes


def usual_options(writes: Writes, **named: Any) -> GenerationOptions:
    """How such a model generates: the likeliest token every time, up to the longest target, and as it was saved with;
    what is `named` counts before that.

    Raises:
        UsageError: an option that there is not, or a value that it does not take.
    """
    told = {**writes.options, **named}
    if odd := next((name for name in told if name not in Options.__annotations__), None):
        raise unknown("option of generating", odd, Options.__annotations__)
    return GenerationOptions(**{**usual_values(writes), **told})


def usual_values(writes: Writes) -> dict[str, Any]:
    """{option: value} where none is named: the likeliest token every time, as beams too take it."""
    return {"max_new_tokens": writes.target, "temperature": 0.0, **writes.options}


def with_options(head: TaskHead, options: Mapping[str, Any]) -> TaskHead:
    """A head that writes, with other options of generating before those that it has.

    Raises:
        UsageError: it does not write, or an option that there is not.
    """
    if head.writes is None:
        raise UsageError(
            f"{', '.join(options)}: options of generating are for models that write, and this one does not"
        )
    writes = replace(head.writes, options={**head.writes.options, **options})
    usual_options(writes)
    return replace(head, writes=writes)


def writing_as(engine: Engine, name: str | None = None) -> Engine:
    """The engine as it writes for one of the tasks that it was taught; one that writes for none goes on with texts.

    Raises:
        ModelError: no such task writes; or several do, and none is named.
    """
    writers = engine.abilities.writers
    if name is None and len(writers) > 1:
        raise ModelError(
            f"this model writes for several tasks: name one (--task, in Python head), {', '.join(writers)}"
        )
    if name is not None and name not in writers:
        known = ", ".join(writers) or "none"
        raise ModelError(f"this model was not fine-tuned to write as {name!r}; the tasks that it writes for: {known}")
    if not writers:
        return engine
    return replace(engine, abilities=engine.abilities.as_writer(writers[name or next(iter(writers))]))


def chatting_as(engine: Engine, name: str | None = None) -> Engine:
    """The engine as it answers messages: of several tasks, the one that was taught on messages, where there is one.

    Raises:
        ModelError: as `writing_as`, of several that were taught so.
    """
    writers = engine.abilities.writers
    taught = [one for one, head in writers.items() if head.writes and head.writes.chat]
    return writing_as(engine, name or (taught[0] if len(taught) == 1 else None))


def written(engine: Engine, prompts: Sequence[np.ndarray]) -> list[Generation]:
    """What a model writes for each prompt, a source with what stands around it."""
    if engine.writes is None:
        raise ModelError("this model was not fine-tuned to write: bothways finetune MODEL --task text2text")
    tokens = [np.asarray(prompt, dtype=np.int64) for prompt in prompts]
    return generate(engine, GenerationRequest.each(tokens, usual_options(engine.writes)))
