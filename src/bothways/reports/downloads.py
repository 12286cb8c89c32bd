"""Under every picture: the picture as SVG and its numbers as CSV, for a paper of one's own."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from bothways.reports.html import Markup, tag

Cell = str | int | float


def downloads(title: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Markup:
    """A line of links for the figure it stands in: the numbers are in it, the page's script adds the picture."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([f"{cell:.7g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    name = file_name(title)
    link = tag(
        "a", "CSV", href=f"data:text/csv;charset=utf-8,{quote(text.getvalue(), safe=' ,.:()')}", download=f"{name}.csv"
    )
    return tag("p", link, class_="saves", data_name=name)


def file_name(title: str) -> str:
    """A title as the name of a file: letters, digits and hyphens."""
    words = "".join(letter if letter.isalnum() else " " for letter in title.lower()).split()
    return "-".join(words) or "picture"
