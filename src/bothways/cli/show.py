"""What commands share: loading a model, making room for a page, one JSON document for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bothways.files import finite
from bothways.terminal import doing, draw, say

if TYPE_CHECKING:
    from bothways.inference import LanguageModel

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead, for programs.")]


def load_torch() -> None:
    """Imports it, which takes seconds; who waits at a terminal is told."""
    with doing("loading torch"):
        import_module("torch")


def load(run: Path, **options: Any) -> LanguageModel:
    """`bothways.load`; who waits at a terminal is told for what."""
    load_torch()
    from bothways.inference import load

    with doing("loading the model"):
        return load(run, **options)


_ending: ContextVar[ExitStack] = ContextVar("ending")


@contextmanager
def until_the_end() -> Iterator[None]:
    """Around a command: what `room_for` claims is let go when it ends, however it does."""
    with ExitStack() as ending:
        token = _ending.set(ending)
        try:
            yield
        finally:
            _ending.reset(token)


def room_for(out: Path | None, *, kind: Literal["folder", "file"] = "file") -> None:
    """Claims what will be written until the command ends, before its work begins, so that none of it is lost.

    Raises:
        MachineError: it cannot be written.
        UsageError: another process writes there; or it is a folder, or a file, and should not be.
    """
    from bothways.claims import claimed

    if out is not None:
        _ending.get().enter_context(claimed(out, kind=kind))


def _as_json(value: Any) -> str:
    return json.dumps(finite(value), ensure_ascii=False, indent=2, allow_nan=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output, dataclasses as objects; text stays as it is written, not escaped."""
    say(_as_json(value))


def print_each(values: Iterable[Any]) -> None:
    """The same of a list, each element as soon as it is there."""
    before = "[\n"
    for value in values:
        typer.echo(before + textwrap.indent(_as_json(value), "  "), nl=False)
        before = ",\n"
    typer.echo("\n]" if before == ",\n" else "[]")


def grid(rows: Mapping[str, str]) -> None:
    """Names and values, side by side."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(name, value)
    draw(table, wrap=True)


def worth_lines(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a score is worth: what the commonest answer alone would get, and what to beware of."""
    if majority := told.get("majority"):
        scores = ", ".join(f"{name} {value:.4f}" for name, value in majority["scores"].items())
        yield "majority", f"always {majority['answer']!r}: {scores}"
    for rule, found in (told.get("baselines") or {}).items():
        spans = ((name, value, *found["intervals"][name]) for name, value in found["scores"].items())
        yield (
            "beside",
            f"{rule}: " + ", ".join(f"{name} {x:.4f} ({low:.4f} to {high:.4f})" for name, x, low, high in spans),
        )
    if before := told.get("before"):
        spans = ((name, value, *before["better_by"][name]) for name, value in before["scores"].items())
        moved = ", ".join(f"{name} {x:.4f} (more by {low:.4f} to {high:.4f} now)" for name, x, low, high in spans)
        yield "before", f"on {before['where']}: {moved}"
    if use := told.get("shuffled_source"):
        own, shuffled = (f"{use['metric']} {use[key]:.4f}" for key in ("own", "shuffled"))
        beside = f"the difference is {use['low']:.4f} to {use['high']:.4f}"
        yield "source use", f"{own}; with sources of other examples {shuffled}; {beside}"
    from bothways.training.finetuning.zero_shot import held_out_lines

    yield from held_out_lines(told)
    yield from (("warning", line) for line in told.get("warnings") or ())
