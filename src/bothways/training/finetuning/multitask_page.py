"""A run of several tasks as one HTML page: all of them in a table, beside the runs of one task, and a part for each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bothways.files import write_text
from bothways.html import Cell, KeyFigure, TableRow, page
from bothways.html.curves import Chart, Curve
from bothways.model import TaskHead
from bothways.tasks.labels import labels_in
from bothways.training.finetuning.multitask_config import MEAN
from bothways.training.finetuning.page import (
    adapter_line,
    facts_of_task,
    in_words,
    lengths_of,
    over_the_run,
    task_part,
    with_ends,
)
from bothways.training.finetuning.run import Judged
from bothways.training.finetuning.setup import FinetuneRun
from bothways.training.record import Record


def write_multitask_report(
    folder: Path, parts: Mapping[str, FinetuneRun], judged: Mapping[str, Judged], heads: Mapping[str, TaskHead]
) -> Path:
    """Writes report.html into the folder of a run of several tasks."""
    record = Record.read(folder)
    tasks: dict[str, Any] = record.manifest["tasks"]
    alone = any(one.get("beside") for one in tasks.values())
    path = folder / "report.html"
    html = page(
        "finetuning_multitask.html",
        record=record,
        tiles=[*_tiles(record)],
        heads=["", "metric", "dev", "test", *(["that task alone", "better by"] if alone else []), "commonest label"],
        tasks=[_row(name, one, alone=alone) for name, one in tasks.items()],
        warnings=[f"{name}: {line}" for name, one in tasks.items() for line in one["warnings"]],
        charts=_curves(record),
        parts=[
            {
                **task_part(
                    part.task, judged[name].examples, judged[name].predictions, heads[name], where=judged[name].where
                ),
                "name": name,
                "about": _about(tasks[name]),
                "heads": ["", *map(in_words, tasks[name]["dev"])],
                "scores": [*_scores(tasks[name])],
                "lengths": lengths_of(tasks[name]),
                "facts": facts_of_task(
                    tasks[name],
                    labelled=any(labels_in(example.gold) for example in judged[name].examples),
                    precision=False,
                ),
            }
            for name, part in parts.items()
        ],
        facts=[
            *([("Adapter", adapter_line(adapter))] if (adapter := record.manifest.get("adapter")) else []),
            ("Precision", record.manifest["precision"]),
            ("Tasks", ", ".join(tasks)),
        ],
    )
    write_text(path, html)
    return path


def _tiles(record: Record) -> Iterator[KeyFigure]:
    manifest = record.manifest
    scores, where = manifest["best"]["scores"], "dev"
    if all(one.get("test") for one in manifest["tasks"].values()):
        scores, where = manifest["test"], "test"
    yield KeyFigure("Mean", f"{scores[MEAN]:.3f}", f"of the tasks' own metrics on {where}")
    for name in [name for name in scores if name != MEAN][:4]:
        own = next(iter(manifest["tasks"][name]["dev"]))
        yield KeyFigure(name, f"{scores[name]:.3f}", f"{in_words(own)} on {where}")
    yield KeyFigure("Epoch kept", str(manifest["best"]["epoch"]), "best mean on dev")


def _row(name: str, one: Mapping[str, Any], *, alone: bool) -> TableRow:
    """A task by its own metric: on dev, on test, beside the run of it alone, and beside always one answer."""
    own = next(iter(one["dev"]))
    cells: list[Any] = [
        in_words(own),
        f"{one['dev'][own]:.4f}",
        _with_ends(one.get("test"), one.get("test_intervals"), own),
    ]
    if alone:
        beside = one.get("beside") or {}
        scores, where = beside.get("scores"), beside.get("where", "")
        cells.append(Cell(f"{scores[own]:.4f}", where) if scores else beside.get("why"))
        ours = (one["test"] if where == "test" else one["dev"])[own] if scores else None
        better = {own: ours - scores[own]} if scores and ours is not None else None
        cells.append(_with_ends(better, beside.get("better_by"), own, sign="+"))
    majority = one.get("majority")
    return TableRow(name, [*cells, f"{majority['scores'][own]:.4f}" if majority else None])


def _with_ends(
    scores: Mapping[str, float] | None, ends: Mapping[str, Sequence[float]] | None, own: str, *, sign: str = ""
) -> Cell | None:
    """A figure above the ends of its interval."""
    return with_ends(scores[own], ends[own] if ends else (math.nan, math.nan), sign=sign) if scores else None


def _about(one: Mapping[str, Any]) -> str:
    counts = one["examples"]
    return (
        f"{one['task']}; {counts['train']:,} examples to train on, {counts['dev']:,} dev, {counts['test']:,} test; "
        f"{one['share']:.0%} of the rows are of this task."
    )


def _scores(one: Mapping[str, Any]) -> Iterator[TableRow]:
    """All scores of a task: on dev, on test with intervals, of the run of it alone, and of always one answer."""
    names = list(one["dev"])
    yield TableRow("Dev", [f"{one['dev'][name]:.4f}" for name in names])
    if one.get("test"):
        yield TableRow("Test", [_with_ends(one["test"], one["test_intervals"], name) for name in names], "ours")
    if (beside := one.get("beside")) and beside["scores"]:
        yield TableRow(
            f"{Path(beside['run']).name} alone, {beside['where']}", [f"{beside['scores'][name]:.4f}" for name in names]
        )
    if majority := one.get("majority"):
        where = "test" if one.get("test") else "dev"
        yield TableRow(f"Always {majority['answer']!r}, {where}", [f"{majority['scores'][name]:.4f}" for name in names])


def _curves(record: Record) -> Markup:
    names = list(record.validation[-1]["scores"])
    curves = [
        replace(Curve.of(name, record.validation, "scores", name), colour=number) for number, name in enumerate(names)
    ]
    chart = Chart("Scores", "Each task's own metric on the dev examples, and their mean.", curves)
    return over_the_run(record, "the mean of the tasks' losses on dev after every epoch.", [chart])
