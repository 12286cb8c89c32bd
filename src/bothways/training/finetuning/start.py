"""What a run begins with: its records, and the model with the head or the way of writing that it is to learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from bothways.errors import ModelError, UsageError
from bothways.model import Abilities, Model, read_body
from bothways.tasks.prefer import check_pairs
from bothways.tasks.task import Example, Task
from bothways.tasks.text2text import WritingTask
from bothways.tasks.text_scores import check_installed
from bothways.text import Tokenizer
from bothways.training.finetuning.adapting import tokenizer_for
from bothways.training.finetuning.config import LONGEST, FinetuneConfig, LearningSettings
from bothways.training.finetuning.data import Data, read_data
from bothways.training.finetuning.rewards import Reward
from bothways.training.finetuning.save import find_body
from bothways.training.finetuning.writing import EXACT, OF_DECODERS, EpochSampler, WritingSetup, writer_of

OF_WRITING = ("objective", "prefix", "target_length", "generation")
"""Settings of tasks that write alone."""
OF_PREFERENCES = {
    "loss": ("prefer",),
    "beta": ("prefer", "grpo"),
    "length_normalised": ("prefer",),
    "samples": ("grpo",),
    "updates": ("grpo",),
    "clip": ("grpo",),
}
"""{setting: the tasks that heed it}"""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Start:
    """length  tokens of a text at most
    trained  what the model can do in the end
    draw     what an epoch makes of the samples of an example; None: it takes them as they are
    why      it is taught as it is, in words
    """

    data: Data
    model: Model
    tokenizer: Tokenizer
    length: int
    trained: Abilities
    draw: EpochSampler | None = None
    why: str = ""


def begin(config: FinetuneConfig, task: Task) -> Start:
    """A body under a new head.

    Raises:
        BothwaysError: a model, a record or a setting that does not serve.
    """
    refuse_of_writing(config, *OF_WRITING, *OF_DECODERS)
    body, reads = find_body(config.model, config.reads)
    data = read_data(config, reads=reads)
    model = read_body(body, data.head, dropout=config.dropout, seed=config.seed)
    head: Any = model.head(data.head.name)
    task.prepare(head, data.train)
    head.smoothing = config.label_smoothing
    check_length(config, model)
    length = min(config.length or LONGEST, model.config.length)
    return Start(data, model, tokenizer_for(config, body), length, Abilities.of_heads(data.head))


def begin_writing(config: FinetuneConfig, task: WritingTask) -> Start:
    """A whole model, with the words that it predicts.

    Raises:
        BothwaysError: a model, a record or a setting that does not serve.
    """
    if task.refers:  # as the reference, without dropout
        config = config.model_copy(update={"dropout": config.dropout or 0.0})
    else:
        check_installed()  # before anything is computed
    if config.reads:
        raise UsageError(f"reads is for tasks that predict labels; how {task.name} reads is said by --objective")
    data = read_data(config, reads="encoder")
    writer = writer_of(config, task, data.head)
    if task.refers:
        check_preferences(config, [*data.train, *data.dev, *data.test], writer.setup)
        for what, side in (("--dev", data.dev), ("--test", data.test)):
            check_both_kinds(side, what)
    check_length(config, writer.model)
    writer.model.words.smoothing = config.label_smoothing
    data = replace(data, head=writer.head)
    why = writer.setup.chosen.why
    return Start(data, writer.model, writer.tokenizer, writer.length, writer.trained, writer.drawn(config.seed), why)


def check_preferences(config: FinetuneConfig, examples: Sequence[Example], setup: WritingSetup) -> None:
    """
    Raises:
        ModelError: an objective by which an answer has no likelihood.
        UsageError: single answers for a loss that compares two, or a setting of another loss.
    """
    if setup.objective.name not in EXACT:
        raise ModelError(
            f"{config.task} needs the likelihood of an answer, which a model that is taught {setup.chosen.name} does "
            f"not give ({setup.chosen.why}): take --objective {', '.join(EXACT[:-1])} or {EXACT[-1]}"
        )
    loss: str = config.loss
    if config.task == "grpo":
        loss = "grpo"
        Reward.found_in(config.code)
    else:
        check_pairs(examples, loss)
    wrong = {
        "label_smoothing": config.label_smoothing and loss != "dpo",
        "length_normalised": config.length_normalised and loss != "dpo",
        "class_weights": config.class_weights == "balanced" and loss != "kto",
    }
    if odd := next((name for name, so in wrong.items() if so), None):
        raise UsageError(f"{odd} is not for {loss}: leave it out")


def check_both_kinds(side: Sequence[Example], what: str) -> None:
    """
    Raises:
        UsageError: single answers that are all good, or all bad, with which nothing can be compared.
    """
    if {len(one.gold) for one in side} == {1} and len(kinds := {one.gold[0].good for one in side}) == 1:
        kind = "good" if kinds == {True} else "bad"
        raise UsageError(
            f"{what}: expected good and bad answers, to compare them, got {kind} ones alone: give {what} with both"
        )


def check_length(config: LearningSettings, model: Model) -> None:
    """
    Raises:
        UsageError: longer texts than the model reads.
    """
    if config.length and config.length > model.config.length:
        raise UsageError(f"length {config.length} is more than the model reads ({model.config.length})")


def refuse_of_writing(config: FinetuneConfig, *names: str) -> None:
    """
    Raises:
        UsageError: one of these settings, which do nothing where nothing is written.
    """
    fields = FinetuneConfig.model_fields
    given = {name: getattr(config, name) != fields[name].get_default() for name in names}
    if said := next((name for name, value in given.items() if value), None):
        raise UsageError(f"{said} is for tasks that write, text2text and its like, and {config.task} does not")


def refuse_of_preferences(config: FinetuneConfig) -> None:
    """
    Raises:
        UsageError: a setting of preferences or rewards, which does nothing for another task.
    """
    fields = FinetuneConfig.model_fields
    for name, tasks in OF_PREFERENCES.items():
        if config.task not in tasks and getattr(config, name) != fields[name].get_default():
            raise UsageError(f"{name} is for {' and '.join(tasks)}, and does nothing for {config.task}: leave it out")


def spread(some: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly spread."""
    return [some[i * len(some) // most] for i in range(most)] if len(some) > most else [*some]
