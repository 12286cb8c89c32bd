"""Shards on one page: where the text came from, what was left out, how it is cut, how long documents are."""

from __future__ import annotations

import numpy as np

from bothways.corpus import Shards
from bothways.corpus.counts import Counts, count, summary
from bothways.reports import text
from bothways.reports.html import Markup, row, table, tag
from bothways.reports.page import document

LENGTHS = (64, 128, 256, 512, 1024)
COMMONEST = 30


def corpus_report(shards: Shards, name: str) -> str:
    """One HTML file."""
    counts = count(shards, shards.train)
    found = summary(shards, counts)
    header = tag(
        "header",
        tag("p", "A Bothways corpus", class_="kind"),
        tag("h1", name),
        tag("dl", *text.tiles(found), class_="tiles"),
    )
    sections = [
        _section("Where it came from", "Documents read, and why some were left out.", _sources(shards)),
        _section("How long documents are", "", text.lengths(found["lengths"], about=text.about_lengths(found))),
        _section(
            "What padding would cost",
            "Were every document alone in rows. Training packs rows, and pads hardly anything.",
            _rows(counts),
        ),
        _section("The commonest tokens", "Share of all tokens of text.", _commonest(shards, counts)),
    ]
    foot = f"Counted over the training stream. Fingerprint {shards.fingerprint}."
    return document("A Bothways corpus", header, *sections, foot=foot)


def _section(title: str, about: str, content: Markup) -> Markup:
    said = [tag("p", about, class_="about")] if about else []
    return tag("section", tag("h2", title), *said, content)


def _sources(shards: Shards) -> Markup:
    rows = [
        row(
            one.name,
            f"{one.documents:,}",
            f"{one.bytes / 1e6:,.1f}",
            f"{one.weight:g}",
            f"{one.duplicates:,}",
            f"{one.excluded:,}",
            f"{one.skipped:,}",
        )
        for one in shards.manifest.sources
    ]
    return table(("source", "documents", "MB", "weight", "duplicates", "excluded", "skipped"), rows)


def _rows(counts: Counts) -> Markup:
    rows = [row(f"{length:,}", f"{counts.padded(length):.1%}") for length in LENGTHS]
    return table(("tokens in a row", "padding"), rows)


def _commonest(shards: Shards, counts: Counts) -> Markup:
    order = np.argsort(-counts.tokens, kind="stable")[:COMMONEST]
    items = (
        tag("li", repr(shards.tokenizer.decode([token])), " ", tag("b", f"{counts.tokens[token] / counts.text:.2%}"))
        for token in order.tolist()
        if counts.tokens[token]
    )
    return tag("ul", *items, class_="legend")
