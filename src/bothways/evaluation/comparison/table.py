"""A comparison on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from rich.table import Table
from rich.text import Text

from bothways.evaluation.comparison.results import COSTS, TIED, contaminated, costs, figures, summary, unequal
from bothways.html import Cell, TableRow
from bothways.terminal import bold

MARK = "="


def tables(result: dict[str, Any]) -> Iterator[Table]:
    """Figures, verdicts and costs."""
    title = f"Means over {result['seeds']} seeds; bold: better than all others, {MARK}: tied with the best, ≤: a bound"
    heads = [f"{metric['short']} {'↑' if metric['better'] == 'more' else '↓'}" for metric in result["metrics"]]
    yield drawn(title, heads, figures(result))
    verdicts = Table.grid(padding=(0, 2))
    if uneven := unequal(result):
        verdicts.add_row(bold("compute"), uneven)
    for metric in result["metrics"]:
        verdicts.add_row(bold(metric["name"]), summary(metric))
    for each in result["contamination"]:
        verdicts.add_row(bold("contamination"), contaminated(each))
    yield verdicts
    yield drawn("What each run took, and the search for its learning rate", COSTS, costs(result), notes=True)


def drawn(title: str, heads: Sequence[str], rows: Iterable[TableRow], *, notes: bool = False) -> Table:
    """Rows under their heads, those with a style dim. With `notes`, what stands in small print under a cell; else of it
    only which are tied."""
    table = Table(title=title)
    for name in ("", *heads):
        table.add_column(name, justify="right" if name else "left")
    for style, some in groupby(rows, key=lambda row: row.style):
        for row in some:
            table.add_row(row.name, *(_shown(cell, notes=notes) for cell in row.cells), style="dim" if style else None)
        table.add_section()
    return table


def _shown(cell: str | Cell | None, *, notes: bool) -> str | Text:
    if not isinstance(cell, Cell):
        return cell or "–"
    if cell.bold:
        return bold(cell.text)
    if notes:
        return f"{cell.text}\n{cell.note}"
    return f"{cell.text} {MARK}" if cell.note == TIED else cell.text
