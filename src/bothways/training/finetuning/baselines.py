"""What a score is worth: what one answer alone would get, and how much of the file was in the training file already."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from bothways.batch import Sample
from bothways.errors import DataError
from bothways.model import TaskHead
from bothways.seals import read_sealed, save_sealed
from bothways.statistics import bootstrap
from bothways.tasks.reading import seals
from bothways.tasks.source_use import source_use
from bothways.tasks.task import Example, Task

FEW = 10
"""Fewer dev examples than these choose an epoch by chance."""
SEEN = "texts.safetensors"
"""In a run's folder: the hashes of the texts of its training file."""


def remember(
    folder: Path,
    examples: Sequence[Example],
    parts: Sequence[Sequence[Sample]],
    dev: Sequence[Example] = (),
    *,
    again: bool,
    writes: bool,
) -> None:
    """Writes which texts a run's training file has, as hashes, and the hash of all samples and of the `dev` examples,
    by which the best epoch is chosen: it is compared where a run goes on `again`.

    Raises:
        DataError: other records, or other tokens of them, than the run began with.
    """
    own, path = {"samples": _hash_of(parts), "dev": _hash_of_dev(dev)}, folder / SEEN
    if again and path.is_file() and (told := read_sealed(path)[1]):
        if any(told.get(name, value) != value for name, value in own.items()):
            raise DataError(
                f"{path}: the training or dev records, or the tokens that are made of them, are not those that the run "
                "began with. Put the files and the model's tokenizer back, or begin again with another --out."
            )
    elif writes:
        save_sealed(path, {"train": np.unique(seals(examples))}, **own)


def _hash_of_dev(examples: Sequence[Example]) -> str:
    """Of texts and right answers; of a task of one's own answers may be anything, and count where they are plain."""
    found = sha256()
    for one in examples:
        found.update(f"{one.texts!r} {_plain(one.gold)}\n".encode())
    return found.hexdigest()


def _plain(gold: object) -> str:
    """Empty where it is, or holds, what JSON has no form for: another process may show it otherwise."""
    try:
        return json.dumps(gold, default=asdict)
    except (TypeError, ValueError):
        return ""


def _hash_of(parts: Sequence[Sequence[Sample]]) -> str:
    found = sha256()
    for sample in (sample for some in parts for sample in some):
        found.update(np.asarray(sample.tokens, dtype=np.int64).tobytes())
        for target in sample.targets:
            for column in (target.at, target.labels):
                found.update(b"|" + np.ascontiguousarray(column).tobytes())
    return found.hexdigest()


def worth(
    task: Task, examples: Sequence[Example], predictions: Sequence[dict[str, Any]], head: TaskHead
) -> dict[str, Any]:
    """{"majority": {"answer": the commonest right one, "scores": what it would get if it were given to all}, None where
    the task has no labels; "baselines": {a rule that learned nothing: its "scores" and their "intervals"}; "warnings":
    a sentence, where one answer was given to everything; where texts are written, "shuffled_source" too}."""
    if task.writes:
        return _worth_of_texts(task, examples, predictions)
    ruled = {name: _measured(task, examples, some, head) for name, some in task.baselines(examples, head).items()}
    if not task.key:
        return {"majority": None, "baselines": ruled, "warnings": []}
    golds = [example.gold for example in examples]
    always = task.always(golds)
    predicted, right = (task.different(some) for some in ([task.predicted(one) for one in predictions], golds))
    warnings = []
    if len(predicted) == 1 < len(right):
        where = f"where {len(right)} different ones are right. The model tells nothing apart"
        warnings = [f"one answer to everything: {_in_words(predicted)!r}, {where}"]
    common = _in_words(task.different([task.predicted(one) for one in always]))
    majority = {"answer": common, "scores": task.score(examples, always, head)}
    return {"majority": majority, "baselines": ruled, "warnings": warnings}


def _measured(
    task: Task, examples: Sequence[Example], predictions: Sequence[dict[str, Any]], head: TaskHead
) -> dict[str, Any]:
    """Scores with their bootstrap intervals, as plain values."""
    scores_of = task.scores_of(examples, predictions, head)
    spans = bootstrap(scores_of, len(examples))
    return {
        "scores": scores_of(range(len(examples))),
        "intervals": {name: [*span] for name, span in spans.items()},
    }


def _worth_of_texts(task: Task, examples: Sequence[Example], predictions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """{"shuffled_source": the metric with an example's own source and with others', as `SourceUse` has it}, beside a
    warning where it makes no difference."""
    use = source_use(task.metric, examples, predictions)
    if use is None:
        why = "whether the model uses its source is not known: expected two examples or more with different sources"
        return {"majority": None, "baselines": {}, "warnings": [why], "shuffled_source": None}
    why = f"the model ignores its source: it does as well with those of other examples ({use})"
    return {
        "majority": None,
        "baselines": {},
        "warnings": [why] if use.ignored else [],
        "shuffled_source": asdict(use) | {"ignored": use.ignored},
    }


def trained_on(run: Path, examples: Sequence[Example], *, where: str) -> list[str]:
    """A sentence, where texts of the examples are those that the run was trained on; of a model without a run, none.
    `where` is what they are called."""
    if not (run / SEEN).is_file() or not examples:
        return []
    again = int(np.isin(seals(examples), read_sealed(run / SEEN)[0]["train"]).sum())
    about = "the score on them says nothing about new texts"
    return [f"{again} of {len(examples)} {where} stand in the training file too: {about}"] if again else []


def chosen_by_chance(held: int) -> list[str]:
    """A sentence, where some examples were held out to choose the epoch by, but too few."""
    what_to_do = "give --dev, or hold out more with --set dev_share=0.3"
    return (
        [f"dev has {held} of the training file: too few to choose an epoch by; {what_to_do}"] if 0 < held < FEW else []
    )


def _in_words(answers: set[Any]) -> str:
    answer = next(iter(answers), ())  # texts without a word have no tag
    return ", ".join(answer) or "none" if isinstance(answer, tuple) else str(answer)
