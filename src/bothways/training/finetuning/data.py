"""The examples of a run, and what its head is to predict; a part is held out where no dev file is given."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bothways.corpus.lines import Skip
from bothways.errors import DataError, UsageError
from bothways.model import TaskHead
from bothways.tasks import TASKS, task_named
from bothways.tasks.reading import check_known, enough, hold_out, named, read_examples, seals
from bothways.tasks.records import Columns, Skipped, refuse
from bothways.tasks.task import Example
from bothways.training.finetuning.config import FinetuneConfig
from bothways.training.finetuning.thresholds import check_thresholds


@dataclass(frozen=True, slots=True)
class Data:
    """train, dev, test    examples; test is empty where no file was given
    head     what is to be predicted, going by the training examples
    columns  how those of the training file were read
    held     how many of the examples of `train`'s file dev is, if it was cut from there
    skip     what is done with a record that is wrong
    """

    train: list[Example]
    dev: list[Example]
    test: list[Example]
    head: TaskHead
    columns: Columns
    held: int
    skip: Skip


def read_data(config: FinetuneConfig, *, reads: str) -> Data:
    """
    Raises:
        DataError: a record that is not what the task needs (unless bad ones are skipped), too few, or a single class.
        UsageError: a column that is not there.
    """
    task = task_named(config.task)
    skip: Skip = Skipped() if config.skip_bad else refuse
    columns, train = read_examples(task, config.train, given=config.columns, skip=skip)
    train = task.fitting(named(train, config.label_names, skip), skip)
    dev: list[Example] = []
    if not config.dev:
        every = train
        train, dev = hold_out(every, config.dev_share)
        if len(every) > 1 and len(set(seals(every).tolist())) == 1:
            raise DataError(
                f"{config.train}: the {len(every)} examples have the same text, or context, so none can be held out by "
                "a hash of it to choose the best epoch by. Bring other texts, or name a --dev file."
            )
    held = len(dev)
    enough(train, config.train, "to train on", skip)
    head = task.head(train, reads=reads)
    if held and (rare := [bool(task.check(example, head)) for example in dev]):
        # A label that was held out as a whole would stop the run: its texts are trained.
        train = [*train, *(example for example, alone in zip(dev, rare, strict=True) if alone)]
        dev = [example for example, alone in zip(dev, rare, strict=True) if not alone]
        head, held = task.head(train, reads=reads), len(dev)
    if config.head and config.head not in task.heads:
        raise UsageError(f"{task.name} has {'the heads ' + ', '.join(task.heads) if task.heads else 'one head only'}")
    if config.head:
        head = replace(head, head=config.head)  # one of the task's
    head = replace(head, **{name: getattr(config, name) for name in task.settings})
    _check_settings(config, head)
    sides = {}
    for side, file in {"dev": config.dev, "test": config.test}.items():
        if file:
            _, some = read_examples(task.like(head), file, given=config.columns, skip=skip)
            sides[side] = check_known(task, named(some, config.label_names, skip), head, skip)
    return Data(train, sides.get("dev", dev), sides.get("test", []), head, columns, held, skip)


def _check_settings(config: FinetuneConfig, head: TaskHead) -> None:
    """
    Raises:
        UsageError: one that would change nothing for such a head.
    """
    fields, own = FinetuneConfig.model_fields, task_named(config.task).settings
    for task in TASKS.values():
        if wrong := [
            name for name in task.settings if name not in own and getattr(config, name) != fields[name].default
        ]:
            raise UsageError(f"{wrong[0]} is for {task.name}, not for {config.task}")
    if head.head == "san" and (head.kind, head.texts) != ("one", 2):
        raise UsageError("head=san is for one label of a pair of texts: leave it out, or bring text_a and text_b")
    if config.thresholds == "tuned":
        check_thresholds(head)
    if config.class_weights == "balanced" and (config.task, head.kind) not in (("classify", "one"), ("prefer", "text")):
        raise UsageError("class_weights=balanced is for classify with one label an example, and for prefer by kto")
    if config.label_names and (head.kind not in ("one", "several")):
        raise UsageError(f"label_names is for labels, which {config.task} has none of")
    if config.label_smoothing and head.kind not in ("one", "text"):
        raise UsageError("label_smoothing is for one label an example, a tag a word, or a text")
