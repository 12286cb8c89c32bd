"""HTML and SVG made of nested calls: balanced and escaped by construction.

tag("p", "1 < 2, ", tag("b", "always"), class_="note")    <p class="note">1 &lt; 2, <b>always</b></p>
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = frozenset({"br", "hr", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML already; any other string is escaped when it goes into a tag."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float | bool | None) -> Markup:
    """An element. Names of attributes: class_ is class, stroke_width is stroke-width; None and False are left out."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(_text(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def table(heads: Iterable[str], rows: Iterable[Markup]) -> Markup:
    """A table as wide as the page; heads are of all columns, an empty one over the names of the rows."""
    shown = (tag("th", head, scope="col") if head else tag("td") for head in heads)
    body = tag("table", tag("thead", tag("tr", *shown)), tag("tbody", *rows))
    return tag("div", body, class_="wide")


def row(name: str, *cells: str | Iterable[str], class_: str | None = None) -> Markup:
    """A row under its name; a cell is a text or several parts."""
    shown = (tag("td", *([cell] if isinstance(cell, str) else cell)) for cell in cells)
    return tag("tr", tag("th", name, scope="row"), *shown, class_=class_)


def join(*parts: str) -> Markup:
    """Parts one after another, those escaped that are not HTML yet."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
