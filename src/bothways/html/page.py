"""Pages from templates. Whatever a template shows is escaped, unless it is markup that a template made.

A page's template stands in templates/ and extends base.html; kit.html holds the parts that pages share, as macros.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup

from bothways.terminal import compact, wide

TEMPLATES = Path(__file__).parent / "templates"
_DRAWN: dict[int, str] = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"} | {
    0x7F: chr(0x2421),
    **dict.fromkeys((*range(0x80, 0xA0), *range(0xD800, 0xE000)), "\N{REPLACEMENT CHARACTER}"),
}
"""Control characters as their pictures, and what no page may hold."""
_FIGURE = re.compile(r"\s*[-+−±≤≥<>~]?\s*\.?\d")
"""How a number begins, whatever stands behind it."""


class KeyFigure(NamedTuple):
    """A figure that one looks for first."""

    name: str
    figure: str
    unit: str


class Cell(NamedTuple):
    """A cell of a table: a text, in bold or not, and what stands below it in small print; `style` is the print's."""

    text: str
    note: str = ""
    style: str = ""
    bold: bool = False


class TableRow(NamedTuple):
    """A row under its name, None for what is not known; `style` is its class, `colour` that of a swatch before it."""

    name: str
    cells: Sequence[str | Cell | None]
    style: str = ""
    colour: int | None = None


def text_columns(rows: Sequence[TableRow]) -> set[int]:
    """The numbers of the columns, names of rows apart, whose cells are mostly texts: they stand at the left, figures at
    the right."""
    found = set()
    for number, column in enumerate(zip(*(row.cells for row in rows), strict=False)):
        known = [str(one.text if isinstance(one, Cell) else one) for one in column if one]
        if sum(not _FIGURE.match(one) for one in known) * 2 > len(known):
            found.add(number)
    return found


def page(template: str, **figures: Any) -> str:
    """A whole page of a template that extends base.html."""
    return f"{_ENVIRONMENT.get_template(template).render(figures)}\n"


def svg(template: str, macro: str, *figures: Any) -> Markup:
    """What one macro of a template draws."""
    return Markup(getattr(_ENVIRONMENT.get_template(template).module, macro)(*figures))


def kit(macro: str, *figures: Any) -> Markup:
    """A part that pages share."""
    return svg("kit.html", macro, *figures)


def visible(text: str) -> str:
    """The text with a sign for every control character: in pages they are errors, or turn into others."""
    return text.translate(_DRAWN)


def token_name(token: str) -> str:
    """A token as one writes of it: without the space before it, and in words where nothing else is left."""
    return token.strip(" \t\n") or ("(new line)" if "\n" in token else "(space)")


def shortened(text: str, most: int) -> str:
    """The text; of one that is wider than so many Latin letters its beginning."""
    if wide(text) <= most:
        return text
    return next(f"{text[:end]}…" for end in range(len(text), -1, -1) if wide(text[:end]) < most)


def file_name(title: str) -> str:
    """A title as the name of a file: letters, digits and hyphens."""
    words = "".join(letter if letter.isalnum() else " " for letter in title.lower()).split()
    return "-".join(words) or "picture"


def csv_link(head: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """Numbers as a link that holds them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([f"{cell:.7g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    return f"data:text/csv;charset=utf-8,{quote(text.getvalue(), safe=' ,.:()')}"


def _shown(value: object) -> object:
    """What a template shows of a value that is no markup."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, Markup | int) else visible(str(value))


class _WithoutBreaks(Extension):
    """Lines of a template are indented for its reader: between tags a break is nothing, in prose it is a space."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return re.sub(r"\n\s*", " ", re.sub(r"(?<=[>}])\n\s*(?=[<{])|\n\s*(?=\{%)|(?<=%\})\n\s*|\s*\Z", "", source))


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_shown,
    extensions=[_WithoutBreaks],
)
_ENVIRONMENT.globals |= {
    "source": lambda name: Markup((TEMPLATES / name).read_text(encoding="utf-8")),
    "csv_link": csv_link,
    "file_name": file_name,
}
_ENVIRONMENT.filters |= {"compact": compact, "token_name": token_name, "text_columns": text_columns}
