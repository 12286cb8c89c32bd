"""The text of a report: how much there is, how it is cut into tokens, how long its documents are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bothways.reports.downloads import downloads
from bothways.reports.html import Markup, tag
from bothways.reports.record import Record, part
from bothways.terminal import compact

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 220, 52, 40


def section(record: Record) -> Markup:
    """What a run read, as its manifest says; empty when it says nothing."""
    found = part(record.manifest, "text")
    if not found:
        return Markup()
    return tag(
        "section",
        tag("h2", "What it read"),
        tag("dl", *tiles(found), class_="tiles"),
        tag("div", lengths(found["lengths"], about=about_lengths(found)), class_="cards"),
    )


def tiles(found: Mapping[str, Any]) -> Iterator[Markup]:
    """Of what `corpus.counts.summary` says."""
    held = found["held_out"]
    for name, value, note in (
        ("Tokens", compact(found["tokens"]), f"and {compact(held['tokens'])} held out"),
        ("Documents", f"{found['documents']:,}", f"and {held['documents']:,} held out"),
        ("Bytes a token", f"{found['bytes_per_token']:.2f}", f"{compact(found['vocabulary'])} tokens known"),
        ("Tokens a word", f"{found['tokens_per_word']:.2f}", "as word starts tell words apart"),
        ("Unknown", f"{found['unknown']:.2%}", "of all tokens"),
        ("Duplicates", f"{found['duplicates']:,}", f"of {found['read']:,} documents, left out"),
    ):
        yield tag(
            "div", tag("dt", name), tag("dd", value, class_="figure"), tag("dd", note, class_="unit"), class_="tile"
        )


def about_lengths(found: Mapping[str, Any]) -> str:
    """In words."""
    return (
        f"Half of the documents have at most {found['median_length']:,} tokens, one has {found['longest']:,}. "
        "Specials count; columns double in width."
    )


def lengths(found: Mapping[Any, int], *, about: str, what: str = "documents") -> Markup:
    """A histogram of what `corpus.counts.by_length` says."""
    bars = [(int(edge), count) for edge, count in found.items()]  # keys of JSON are text
    step, most = (WIDTH - LEFT) / len(bars), max(1, *found.values())
    drawn: list[Markup] = []
    for i, (edge, count) in enumerate(bars):
        height = (HEIGHT - BOTTOM - 16) * count / most
        x, y = LEFT + i * step, HEIGHT - BOTTOM - height
        label = f"{edge:,} to {2 * edge - 1:,} tokens: {count:,} {what}"
        drawn += [
            tag("rect", tag("title", label), x=x + 2, y=y, width=step - 4, height=height, rx=3),
            tag("text", compact(edge), x=x + step / 2, y=HEIGHT - BOTTOM + 18, class_="middle"),
            tag("text", f"{count / max(1, sum(found.values())):.0%}", x=x + step / 2, y=y - 4, class_="middle"),
        ]
    words = tag("text", "tokens", x=LEFT + (WIDTH - LEFT) / 2, y=HEIGHT - 4, class_="middle words")
    return tag(
        "figure",
        tag("h3", f"Length of {what}"),
        tag(
            "svg",
            *drawn,
            words,
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            class_="bars",
            role="img",
            aria_label=f"length of {what}",
        ),
        tag("figcaption", about),
        downloads(f"length of {what}", ("tokens_from", "tokens_to", what), ((e, 2 * e - 1, n) for e, n in bars)),
        class_="card",
    )
