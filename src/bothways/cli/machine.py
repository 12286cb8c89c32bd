"""Commands about the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bothways.cli.show import Json, print_json
from bothways.terminal import doing, draw, say


def doctor(
    folder: Annotated[Path, typer.Option(help="Where corpora and runs are to be written.")] = Path(),
    seconds: Annotated[float, typer.Option(min=0.0, help="How long to measure each speed; 0 leaves it out.")] = 1.0,
    json: Json = False,
) -> None:
    """Is this machine ready, how fast is it, and what would make it better? Exits with 6 if something is missing."""
    from bothways.doctor import as_json, as_text, examine, missing

    with doing("measuring this machine"):
        checks = examine(folder, seconds=seconds)
    lacking = missing(checks)
    if json:
        print_json(as_json(checks))
    else:
        draw(as_text(checks))
        names = ", ".join(check.name for check in lacking)
        say(f"\nNot ready: {names}." if lacking else "\nReady.")
    if lacking:
        raise typer.Exit(6)
