"""A word budget on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from bothways.evaluation.babylm.page import HEADS, LEARNED, NAME, along, columns, compared
from bothways.evaluation.babylm.published import differs
from bothways.evaluation.comparison.table import drawn


def tables(result: dict[str, Any]) -> Iterator[Table]:
    """The last model beside n-grams and published ones, what differs, and every model on the way."""
    yield drawn(f"{NAME}: pairs won, in percent", HEADS[1:], (row._replace(style="") for row in compared(result)))
    yield _said(differs(result))
    rules = [f"{head.text}\n{head.note}" for head, _ in columns(result)]
    yield drawn("Every model on the way: words seen, pairs won, own held-out text", [*rules, *LEARNED], along(result))


def _said(text: str) -> Table:
    grid = Table.grid()
    grid.add_row(text)
    return grid
