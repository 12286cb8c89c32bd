"""Whatever task a model is used for: examples in, predictions out, in the order they came.

Letters: S samples, N targets.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from bothways.batch import Sample
from bothways.errors import ModelError
from bothways.inference.engine import Engine
from bothways.inference.writing import written
from bothways.model import Model, TaskHead
from bothways.tasks import TASKS, task_named
from bothways.tasks.packing import packed_alike
from bothways.tasks.task import Example, Output, Task


def predict(engine: Engine, task: str, inputs: Sequence[Any], *, head: str | None = None, **changes: Any) -> list[Any]:
    """A prediction for each of the inputs, which are what `Task.given` takes; what is longer than the model reads is
    cut, with a warning.

    Args:
        head: by its name, where several were trained to the task.
        changes: fields of the `TaskHead` that are otherwise than they were saved.

    Raises:
        ModelError: the model was not fine-tuned to that task.
        UsageError: an input that the task cannot read.
    """
    named = replace(head_for(engine, task, head), **changes)
    asked = task_named(task).like(named)
    examples = [asked.given(one, named) for one in inputs]
    samples = [asked.encode(example, engine.tokenizer, named, length=engine.length) for example in examples]
    if cut := sum(any(sample.cut for sample in some) for some in samples):
        message = f"cut to {asked.limit(engine.length)}: {cut} of {len(samples)} texts"
        warnings.warn(message, stacklevel=5)  # the line that called the model's method
    return decoded(engine, asked, named, list(zip(examples, samples, strict=True)))


def head_for(engine: Engine, task: str, name: str | None = None) -> TaskHead:
    """The head of a model that was trained to a task.

    Raises:
        ModelError: there is none, none of that name, or several and no name.
    """
    heads, known = engine.abilities.heads, (task, *(TASKS[task].also if task in TASKS else ()))
    found = {key: head for key, head in heads.items() if head.task in known and name in (None, key)}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise ModelError(f"this model was fine-tuned to {task} with several heads: name one, {', '.join(found)}")
    was = ", ".join(f"{head.task} ({key})" if len(heads) > 1 else head.task for key, head in heads.items())
    wanted = f" as {name!r}" if name else ""
    raise ModelError(
        f"this model was {f'fine-tuned to {was}, not to {task}{wanted}' if was else 'not fine-tuned'}. "
        f"Fine-tune one: bothways finetune MODEL --task {task} --train FILE"
    )


def decoded(
    engine: Engine, task: Task, head: TaskHead, encoded: Sequence[tuple[Example, Sequence[Sample]]]
) -> list[Any]:
    """The prediction for each example with its samples.

    Raises:
        ModelError: logits that are not finite.
    """
    if task.writes:
        engine = replace(engine, abilities=engine.abilities.as_writer(head))
    outputs = (_generated if task.writes else _computed)(engine, head, [samples for _, samples in encoded])
    return [task.decode(example, output) for (example, _), output in zip(encoded, outputs, strict=True)]


def _generated(engine: Engine, head: TaskHead, encoded: Sequence[Sequence[Sample]]) -> Iterator[Output]:
    """What a model that writes puts out for each example, whose only sample is its prompt."""
    for samples, one in zip(encoded, written(engine, [sample.tokens for (sample,) in encoded]), strict=True):
        texts = (one.text, *(other.text for other in one.others))
        yield Output(samples, (), head, engine.tokenizer, texts, one.logprob)


def _computed(engine: Engine, head: TaskHead, encoded: Sequence[Sequence[Sample]]) -> Iterator[Output]:
    """The logits for each example."""
    every = [sample for samples in encoded for sample in samples]
    logits = iter(logits_of(engine.model, every, batch_size=engine.batch_size, watch=engine.watch))
    for samples in encoded:
        output = Output(samples, [next(logits) for _ in samples], head, engine.tokenizer)
        for one in output.all:
            for logits_of_one in one:
                engine.finite(torch.from_numpy(logits_of_one))
        yield output


@torch.inference_mode()
def logits_of(
    model: Model,
    samples: Sequence[Sample],
    *,
    batch_size: int | None = None,
    watch: Callable[[float], None] = lambda share: None,
) -> list[list[np.ndarray]]:
    """For each sample, float32 logits [N, ...] at each of its targets. Samples of like length are read together.

    Args:
        batch_size: samples at once; None: as many tokens as suit the device.
        watch: told the share that is done.
    """
    found: list[list[np.ndarray]] = [[np.zeros(0)] * len(sample.targets) for sample in samples]
    done = 0
    for some, packed in packed_alike(samples, model.table.device, batch_size=batch_size):
        for target, states in zip(packed.batch.targets, model.hidden_at(packed.batch), strict=True):
            logits = model.head(target.head).logits(states, target).float().cpu().numpy()
            begin = 0
            for number, place, count in packed.places[target.head, target.name]:
                found[some[number]][place] = logits[begin : begin + count]
                begin += count
        done += len(some)
        watch(done / len(samples))
    return found
