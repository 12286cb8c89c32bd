"""How commands print: a rich console for people, one JSON document for programs."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead, for programs.")]


def console() -> Console:
    """Where people read: standard output, as wide as the terminal; plain text when it is not one."""
    return Console(highlight=False, soft_wrap=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output; text stays as it is written, not escaped."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
