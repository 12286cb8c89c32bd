"""An objective as a page: what is read, who sees whom, and what must be said."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bothways.objectives.show import Picture, about, columns, pictures, width_of
from bothways.reports.downloads import downloads
from bothways.reports.html import Markup, tag
from bothways.reports.page import document

CELL, GAP, LETTER = 26, 3, 7.4
KINDS = {
    "before": "sees what comes before it",
    "itself": "itself",
    "after": "what comes after it",
    "scaffold": "what was laid behind the text",
}
FILLS = """
svg.sees .before { fill: var(--colour-0); } svg.sees .itself { fill: var(--colour-6); }
svg.sees .after { fill: var(--colour-1); } svg.sees .scaffold { fill: var(--colour-2); }
svg.sees .hides { fill: var(--faint); }
svg.sees text { fill: var(--ink); } svg.sees text.soft { fill: var(--soft); }
svg.sees text.says { font-weight: 650; } svg.sees text.sign { fill: var(--card); }
svg.sees g.place:hover rect { stroke: var(--ink); stroke-width: 1.5; }
svg.sees g.place:hover text { font-weight: 650; }
"""
STYLE = f"""{FILLS}
svg.sees {{ width: auto; max-width: 100%; }}
ul.legend .before {{ --own: var(--colour-0); }} ul.legend .itself {{ --own: var(--colour-6); }}
ul.legend .after {{ --own: var(--colour-1); }} ul.legend .scaffold {{ --own: var(--colour-2); }}
"""
ALONE = """
svg { --card: #fff; --ink: #1b1d21; --soft: #5d636d; --faint: #efefec;
  --colour-0: #2a62c9; --colour-1: #d1600a; --colour-2: #0d8a72; --colour-6: #4b5563;
  font: 13px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { svg { --card: #1b1e22; --ink: #e9eaec; --soft: #a0a6b0; --faint: #24282d;
  --colour-0: #7fabff; --colour-1: #ff9d5c; --colour-2: #4fd1b5; --colour-6: #b6bec9; } }
svg text { font-size: 12px; } svg .middle { text-anchor: middle; } svg > rect { fill: var(--card); }
"""
"""What a page's style says, for a picture in a file of its own."""
EDGE = 12
SIGNS = {"before": "◂", "itself": "•", "after": "▸", "scaffold": "+"}
"""In the cells, for those who do not tell the colours apart."""


def visibility_page(expression: str, texts: Sequence[str], *, seed: int = 0, progress: float = 0.0) -> str:
    """One HTML file: a picture for each kind of row that the objective draws.

    Raises:
        UsageError: as `pictures`.
    """
    drawn = pictures(expression, texts, seed=seed, progress=progress)
    summary, *rest = about(expression)
    header = tag(
        "header",
        tag("style", Markup(STYLE)),
        tag("p", "An objective of Bothways", class_="kind"),
        tag("h1", expression),
        tag("p", summary.partition(": ")[2].capitalize() + ".", class_="lead"),
        *(tag("p", line, class_="about") for line in rest),
    )
    sections = [
        tag(
            "section",
            tag("h2", f"{one.name}, {one.share} of the rows" if len(drawn) > 1 else "Who sees whom"),
            tag("p", "A line for every place: what is read there, whom it sees, what it must say.", class_="about"),
            tag("figure", _legend(one), matrix(one), downloads(one.name, *_numbers(one)), class_="card"),
        )
        for one in drawn
    ]
    foot = "Steps say when a place becomes known; a place sees what is known by its own step. Written by Bothways."
    return document(f"{expression}: who sees whom", header, *sections, foot=foot)


def picture_file(expression: str, text: str, *, seed: int = 0) -> str:
    """The first picture of an objective as an SVG file, light or dark as its reader is.

    Raises:
        UsageError: as `pictures`.
    """
    (picture, *_) = pictures(expression, [text], seed=seed)
    drawn = matrix(picture)
    width, height = (int(found) + 2 * EDGE for found in re.findall(r'(?:width|height)="(\d+)"', drawn)[:2])
    whole = tag(
        "svg",
        tag("style", Markup(ALONE + FILLS)),
        tag("rect", width=width, height=height, rx=8),
        Markup(drawn.replace("<svg ", f'<svg x="{EDGE}" y="{EDGE}" ', 1)),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
    )
    return f"{whole}\n"


def _numbers(picture: Picture) -> tuple[Sequence[str], Iterator[Sequence[str | int]]]:
    """A line for every place: what is read there, 1 for whom it sees, what it says."""
    rows = zip(picture.reads, picture.sees, picture.says, strict=True)
    return ("reads", *picture.reads, "says"), ((read, *map(int, sees), says) for read, sees, says in rows)


def matrix(picture: Picture) -> Markup:
    """An SVG: lines are the places that look, columns those that are looked at."""
    left = columns(picture)
    widths = [max(map(width_of, (name, *cells))) * LETTER + 16 for name, cells in left.items()]
    top = max(map(width_of, picture.reads)) * LETTER + 22
    start, size = sum(widths), CELL + GAP
    said = max((width_of(word) for word in picture.says), default=0) * LETTER
    count = len(picture.reads)
    width, height = start + count * size + 14 + max(said, 40), top + count * size
    return tag(
        "svg",
        *_heads(picture, list(left), widths, top, start),
        *(_place(picture, i, left, widths, start, top + i * size) for i in range(count)),
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=round(width),
        height=round(height),
        class_="sees",
        role="img",
        aria_label="who sees whom",
    )


def _heads(
    picture: Picture, names: Sequence[str], widths: Sequence[float], top: float, start: float
) -> Iterator[Markup]:
    """The names of the columns, and the words that are looked at, upright."""
    x = 0.0
    for name, width in zip(names, widths, strict=True):
        yield tag("text", name, x=x, y=top - 8, class_="soft")
        x += width
    for j, word in enumerate(picture.reads):
        x = start + j * (CELL + GAP) + CELL / 2 + 4
        yield tag("text", word, x=x, y=top - 8, transform=f"rotate(-90 {x:g} {top - 8:g})")
    end = start + len(picture.reads) * (CELL + GAP) + 10
    yield tag("text", "says", x=end, y=top - 8, class_="soft")


def _place(
    picture: Picture, i: int, left: dict[str, list[str]], widths: Sequence[float], start: float, y: float
) -> Markup:
    parts, x = [], 0.0
    for cells, width in zip(left.values(), widths, strict=True):
        parts.append(tag("text", cells[i], x=x, y=y + CELL * 0.68))
        x += width
    for j in range(len(picture.reads)):
        x = start + j * (CELL + GAP)
        kind = kind_of(picture, i, j)
        parts.append(tag("rect", x=x, y=y, width=CELL, height=CELL, rx=4, class_=kind or "hides"))
        if kind:
            parts.append(tag("text", SIGNS[kind], x=x + CELL / 2, y=y + CELL * 0.68, class_="sign middle"))
    end = start + len(picture.reads) * (CELL + GAP) + 10
    parts.append(tag("text", picture.says[i], x=end, y=y + CELL * 0.68, class_="says"))
    seen = " ".join(word for word, see in zip(picture.reads, picture.sees[i], strict=True) if see)
    says = f", says {picture.says[i]}" if picture.says[i] else ""
    return tag("g", tag("title", f"{picture.reads[i]} sees {seen or 'nothing'}{says}"), *parts, class_="place")


def kind_of(picture: Picture, i: int, j: int) -> str:
    """How place i sees place j: one of KINDS, or "" if it does not."""
    if not picture.sees[i, j]:
        return ""
    if i == j:
        return "itself"
    if picture.sample.layout.group[j]:
        return "scaffold"
    here, there = (picture.sample.layout.position[place] for place in (i, j))
    return "before" if there <= here else "after"


def _legend(picture: Picture) -> Markup:
    count = range(len(picture.reads))
    used = {kind_of(picture, i, j) for i in count for j in count}
    return tag(
        "ul",
        *(tag("li", tag("i", class_=kind), f"{SIGNS[kind]} {says}") for kind, says in KINDS.items() if kind in used),
        class_="legend",
    )
