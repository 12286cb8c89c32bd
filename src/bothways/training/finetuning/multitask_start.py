"""What a run of several tasks begins with: the records of each, and one model with what all of them are to learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from bothways.errors import BothwaysError, UsageError
from bothways.inference.loading import folder_of
from bothways.model import Model, TaskHead, local, read_abilities, read_body, read_saved
from bothways.tasks import task_named
from bothways.tasks.records import check_roles
from bothways.tasks.text2text import WritingTask
from bothways.tasks.text_scores import check_installed
from bothways.text import Tokenizer
from bothways.training.finetuning.adapting import tokenizer_for
from bothways.training.finetuning.config import LONGEST
from bothways.training.finetuning.data import Data, read_data
from bothways.training.finetuning.framing import framed_for
from bothways.training.finetuning.multitask_config import MultiTaskConfig, OneTask
from bothways.training.finetuning.save import find_body
from bothways.training.finetuning.start import OF_WRITING, check_length, refuse_of_writing
from bothways.training.finetuning.teachers import check_beside
from bothways.training.finetuning.writing import (
    OF_DECODERS,
    EpochSampler,
    WritingSetup,
    begin_with,
    load_those,
    taught,
    writing_setup,
)


@dataclass(frozen=True, slots=True)
class MultiTaskStart:
    """The model is on the CPU.

    data   {name: the examples of a task, and its head, which has the task's name}
    draws  {name: what an epoch makes of an example's samples}, of the tasks that write
    why    {name: why such a task is taught as it is}
    """

    data: Mapping[str, Data]
    model: Model
    tokenizer: Tokenizer
    length: int
    draws: Mapping[str, EpochSampler] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)


def begin_multitask(config: MultiTaskConfig) -> MultiTaskStart:
    """The data of all tasks, and the model that is to learn them.

    Raises:
        BothwaysError: a model, a record or a setting that does not serve; or tasks that one model cannot learn.
    """
    if alone := next((one for one in config.tasks if task_named(one.task).refers), None):
        raise UsageError(
            f"{alone.name}: {alone.task} compares a model with what it was, and is taught alone: finetune RUN --task "
            f"{alone.task}, behind the run of several tasks"
        )
    writing = {one.name for one in config.tasks if task_named(one.task).writes}
    if writing:
        check_installed()
    if len(writing) == len(config.tasks):
        if config.reads:
            raise UsageError(
                "reads is for tasks that predict labels; how one that writes reads is said by its objective"
            )
        body, reads = folder_of(local(config.model)), "encoder"
    else:
        body, reads = find_body(config.model, config.reads)
    data = {}
    for one in config.tasks:
        with _named(one.name):
            data[one.name] = _data(config, one, reads)
    own = tokenizer_for(config, body)
    tokenizer = framed_for(own, read_abilities(body), *(task_named(one.task) for one in config.tasks))
    if writing:
        start = _with_writers(config, body, data, tokenizer)
    else:
        refuse_of_writing(config.of(config.tasks[0]), *OF_DECODERS)
        heads = [one.head for one in data.values()]
        model = read_body(body, *heads, dropout=config.dropout, seed=config.seed)
        start = MultiTaskStart(data, model, tokenizer, min(config.length or LONGEST, model.config.length))
    check_length(config, start.model)
    for one in config.tasks:
        if one.name not in writing:
            module: Any = start.model.head(one.name)
            task_named(one.task).prepare(module, data[one.name].train)
            module.smoothing = one.label_smoothing
    return start


@contextmanager
def _named(name: str) -> Iterator[None]:
    """
    Raises:
        BothwaysError: what is raised within, with the name of the task before it.
    """
    try:
        yield
    except BothwaysError as error:
        raise type(error)(f"{name}: {error}") from None


def _data(config: MultiTaskConfig, one: OneTask, reads: str) -> Data:
    """The examples of one task; its head has the task's name.

    Raises:
        BothwaysError: as `read_data`, and as `check_beside`.
        UsageError: a setting of tasks that write, where this one does not.
    """
    settings = config.of(one)
    if not task_named(one.task).writes:
        refuse_of_writing(settings, *OF_WRITING)
    if not config.code:
        check_roles(one.columns)
    data = read_data(settings, reads=reads)
    head = replace(data.head, name=one.name)
    for what, beside in {"teacher": one.teacher, "run to compare with": one.compare}.items():
        if beside:
            check_beside(beside, head, what=what)
    return replace(data, head=head)


def _with_writers(config: MultiTaskConfig, body: Path, data: dict[str, Data], tokenizer: Tokenizer) -> MultiTaskStart:
    """A whole model, with the words that it predicts, under the heads of the tasks that predict labels."""
    saved = read_saved(body)
    length = min(config.length or LONGEST, saved.model.config.length)
    setups: dict[str, WritingSetup] = {}
    for one in config.tasks:
        task = task_named(one.task)
        if isinstance(task, WritingTask):
            with _named(one.name):
                setups[one.name] = writing_setup(config.of(one), task, saved.trained, tokenizer, length=length)
    _check_together(config, setups)
    (first, *_) = setups.values()
    shape, weights = begin_with(config, saved, first)
    data = dict(data)
    for name, setup in setups.items():
        head = setup.head(data[name].head, shape, model=config.model)
        trained = taught(setup, head, shape)
        told = replace(setup.writes, objective=trained.objective, decoding=trained.decoding or {"decoder": 0})
        data[name] = replace(data[name], head=replace(head, writes=told))
    heads = [one.head for name, one in data.items() if name not in setups]
    factories = {head.name: head.factory for head in heads}
    model = Model(shape, heads=factories, rule=first.objective.rule, seed=config.seed)
    load_those(
        model, {**weights, **_begun_heads(config, body, heads, encoder_decoder=saved.model.config.decoder is not None)}
    )
    model.words.smoothing = next(one.label_smoothing for one in config.tasks if one.name in setups)
    draws = {name: one.drawn(tokenizer, shape, seed=config.seed, name=name) for name, one in setups.items()}
    why = {name: one.chosen.why for name, one in setups.items()}
    return MultiTaskStart(data, model, tokenizer, length, draws, why)


def _begun_heads(
    config: MultiTaskConfig, body: Path, heads: list[TaskHead], *, encoder_decoder: bool
) -> Mapping[str, Tensor]:
    """What the heads of tasks that predict labels begin with, as without tasks that write; over the encoder of a
    `encoder_decoder` model, where nothing is there for them, as they are drawn."""
    if not heads or encoder_decoder:
        return {}
    begun = read_body(body, *heads, seed=config.seed).state_dict()
    return {name: weight for name, weight in begun.items() if name.startswith("heads.")}


def _check_together(config: MultiTaskConfig, setups: Mapping[str, WritingSetup]) -> None:
    """
    Raises:
        UsageError: tasks that write which one model cannot learn together.
    """
    (name, first), *others = setups.items()
    smoothing = {one.name: one.label_smoothing for one in config.tasks}
    for other, setup in others:
        ways = f"{name} is taught by {first.chosen.name}, {other} by {setup.chosen.name}"
        if first.objective.encoder_decoder != setup.objective.encoder_decoder:
            raise UsageError(
                f"{ways}: an encoder-decoder writes by its decoder alone. Take objective: seq2seq for both, or for none"
            )
        if first.objective.rule.name != setup.objective.rule.name:
            raise UsageError(
                f"{ways}: a model reads under one rule of visibility, and they differ in it. Take objective: bang for "
                "both, or for none"
            )
        if smoothing[name] != smoothing[other]:
            raise UsageError(
                f"{name} has label_smoothing {smoothing[name]:g}, {other} {smoothing[other]:g}: tasks that write share "
                "the head that predicts words. Give them the same"
            )
