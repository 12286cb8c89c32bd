"""HTML and SVG made of nested calls: balanced and escaped by construction.

tag("p", "1 < 2, ", tag("b", "always"), class_="note")    <p class="note">1 &lt; 2, <b>always</b></p>
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = frozenset({"br", "hr", "input", "link", "meta"})
_DRAWN: dict[int, str] = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"} | {
    0x7F: chr(0x2421),
    **dict.fromkeys((*range(0x80, 0xA0), *range(0xD800, 0xE000)), "\N{REPLACEMENT CHARACTER}"),
}
"""Control characters as their pictures, and what no page may hold."""


class Markup(str):
    """Text that is HTML already; any other string is escaped when it goes into a tag."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float | bool | None) -> Markup:
    """An element. Names of attributes: class_ is class, stroke_width is stroke-width; None and False are left out."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(visible(_text(value)))}"')
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


def visible(text: str) -> str:
    """The text with a sign for every control character: in pages they are errors, or turn into others."""
    return text.translate(_DRAWN)


def token_name(token: str) -> str:
    """A token as one writes of it: without the space before it, and in words where nothing else is left."""
    return token.strip(" \t\n") or ("(new line)" if "\n" in token else "(space)")


def join(*parts: str) -> Markup:
    """Parts one after another, those escaped that are not HTML yet."""
    return Markup("".join(part if isinstance(part, Markup) else escape(visible(part)) for part in parts))


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
