"""What commands share: loading a model, making room for a page, one JSON document for programs."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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


def room_for(page: Path | None) -> None:
    """Makes the folder of a page before the work begins, so that none of it is lost.

    Raises:
        MachineError: it cannot be written.
        UsageError: it is a folder.
    """
    from bothways.errors import MachineError, UsageError
    from bothways.files import writing

    if page is None:
        return
    if page.is_dir():
        raise UsageError(f"{page} is a folder: name a file in it")
    with writing(page.parent):
        page.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(page if page.exists() else page.parent, os.W_OK):
        raise MachineError(f"{page} may not be written: choose another place")


def write_page(page: Path, html: str) -> None:
    """
    Raises:
        MachineError: it cannot be written.
    """
    from bothways.files import writing

    with writing(page.parent):
        page.write_text(html, encoding="utf-8")


def print_json(value: Any) -> None:
    """One JSON document on standard output, dataclasses as objects; text stays as it is written, not escaped."""
    say(json.dumps(value, ensure_ascii=False, indent=2, default=asdict))


def print_each(values: Iterable[Any]) -> None:
    """The same of a list, each element as soon as it is there."""
    before = "[\n"
    for value in values:
        text = json.dumps(value, ensure_ascii=False, indent=2, default=asdict)
        typer.echo(before + textwrap.indent(text, "  "), nl=False)
        before = ",\n"
    typer.echo("\n]" if before == ",\n" else "[]")


def grid(rows: Mapping[str, str]) -> None:
    """Names and values, side by side."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(name, value)
    draw(table, wrap=True)
