"""A comparison on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from rich.table import Table
from rich.text import Text

from bothways.evaluation.comparison.results import figure, leader, summary, tied, unequal
from bothways.terminal import bold, compact

MARK = "="


def tables(result: dict[str, Any]) -> Iterator[Table]:
    """Figures, verdicts and costs."""
    yield _figures(result)
    yield _verdicts(result)
    yield _costs(result)


def _figures(result: dict[str, Any]) -> Table:
    """Means over the seeds: the one that leads in bold, ties marked, bounds marked."""
    title = f"Means over {result['seeds']} seeds; bold: better than all others, {MARK}: tied with the best, ≤: a bound"
    table = Table(title=title)
    table.add_column("")
    for metric in result["yardsticks"]:
        table.add_column(f"{metric['short']} {'↑' if metric['better'] == 'more' else '↓'}", justify="right")
    for entry in result["objectives"]:
        name = entry["objective"]
        table.add_row(name, *(_cell(metric, name) for metric in result["yardsticks"]))
    table.add_section()
    for name in dict.fromkeys(name for metric in result["yardsticks"] for name in metric["baselines"]):
        values = [metric["baselines"].get(name) for metric in result["yardsticks"]]
        table.add_row(name, *("" if value is None else figure(value) for value in values), style="dim")
    return table


def _cell(metric: dict[str, Any], name: str) -> str | Text:
    standing = next((each for each in metric["objectives"] if each["objective"] == name), None)
    if standing is None:
        return "–"
    text = ("≤ " if standing["bound"] else "") + figure(standing["mean"])
    if name == leader(metric):
        return bold(text)
    return f"{text} {MARK}" if name in tied(metric) else text


def _verdicts(result: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    if uneven := unequal(result):
        table.add_row(bold("compute"), uneven)
    for metric in result["yardsticks"]:
        table.add_row(bold(metric["name"]), summary(metric))
    for each in result["overlap"]:
        documents = each["documents"]
        found = f"{documents} training documents contain" if documents else "no training document contains"
        table.add_row(
            bold("contamination"),
            f"{found} one of the {each['items']} items of {each['questions']} ({each['too_short']} are too short to be "
            "looked for)",
        )
    return table


def _costs(result: dict[str, Any]) -> Table:
    table = Table(title="What each run took, and the search for its learning rate (an end: of the rates tried)")
    for name in ("", "learning rate", "FLOPs", "tokens", "time", "trials", "their FLOPs"):
        table.add_column(name, justify="right" if name else "left")
    for entry in result["objectives"]:
        table.add_row(
            entry["objective"],
            f"{entry['learning_rate']:.3g} (x {entry['factor']:g}{', an end' if entry['edge'] else ''})",
            compact(entry["flops"]),
            compact(entry["tokens"]),
            str(timedelta(seconds=round(entry["seconds"]))),
            str(len(entry["trials"])),
            compact(entry["search"]["flops"]),
        )
    return table
