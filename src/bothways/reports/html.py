"""HTML and SVG made of nested calls: balanced and escaped by construction.

tag("p", "1 < 2, ", tag("b", "always"), class_="note")    <p class="note">1 &lt; 2, <b>always</b></p>
"""

from __future__ import annotations

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


def join(*parts: str) -> Markup:
    """Parts one after another, those escaped that are not HTML yet."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
