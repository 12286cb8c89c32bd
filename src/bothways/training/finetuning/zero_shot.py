"""Tasks of a mixture that are held out: how a model does on them before it is taught the others, and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bothways.corpus.lines import Skip
from bothways.tasks.mixture import examples_by_task, is_mixture
from bothways.tasks.reading import EncodedExample, enough
from bothways.training.finetuning.tuned import Tuned, measure

if TYPE_CHECKING:
    from bothways.training.finetuning.setup import FinetuneRun


def by_task(
    tuned: Tuned, file: Path, skip: Skip, *, held_out: bool = True
) -> Iterator[tuple[str, Sequence[EncodedExample]]]:
    """(task, its examples) of those of a mixture that are held out, or of those that are not.

    Raises:
        DataError: as `examples_by_task`, or a task whose records cannot be read.
    """
    for name, examples in examples_by_task(file, skip, held_out=held_out).items():
        encoded = tuned.encode(examples, skip)
        enough(encoded, file, f"of {name} to measure by", skip)
        yield name, encoded


def measure_held_out(run: FinetuneRun, tuned: Tuned, when: Literal["before", "after"]) -> None:
    """Notes in the run's manifest held_out: {task: {"examples", "before": scores, "after": scores}}."""
    if not is_mixture(run.config.train):
        return
    noted: dict[str, Any] = run.folder.manifest().get("held_out") or {}
    if when == "before" and noted:
        return  # the run goes on
    run.team.wait()  # all have seen what is noted
    for name, encoded in by_task(tuned, run.config.train, run.data.skip):
        scores, _ = measure(tuned, encoded, run.team)
        noted = {**noted, name: {**noted.get(name, {}), "examples": len(encoded), when: scores}}
    run.folder.note(held_out=noted)


def held_out_lines(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """For people: what `measure_held_out` noted."""
    for name, one in (told.get("held_out") or {}).items():
        metric, after = next(iter(one["after"].items()))
        exact = f", exact {one['before']['exact']:.4f} before, {one['after']['exact']:.4f} after"
        yield "held out", f"{name}: {metric} {one['before'][metric]:.4f} before, {after:.4f} after{exact}"
