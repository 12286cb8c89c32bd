"""Shards on one page: where the text came from, what was left out, how it is cut, how long documents are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from bothways.corpus import Shards
from bothways.corpus.counts import count, summary
from bothways.html import KeyFigure, TableRow, kit, page
from bothways.html.charts import histogram
from bothways.terminal import compact

LENGTHS = (64, 128, 256, 512, 1024)
COMMONEST = 30


def corpus_report(shards: Shards, name: str) -> str:
    """One HTML file."""
    counts = count(shards, shards.train)
    found = summary(shards, counts)
    order = np.argsort(-counts.tokens, kind="stable")[:COMMONEST].tolist()
    return page(
        "corpus.html",
        name=name,
        fingerprint=shards.fingerprint,
        tiles=tiles(found),
        sources=[
            TableRow(
                one.name,
                [
                    f"{one.documents:,}",
                    f"{one.bytes / 1e6:,.1f}",
                    f"{one.weight:g}",
                    *(f"{number:,}" for number in (one.duplicates, one.excluded, one.skipped)),
                ],
            )
            for one in shards.manifest.sources
        ],
        lengths=lengths(found),
        padding=[TableRow(f"{length:,}", [f"{counts.padded(length):.1%}"]) for length in LENGTHS],
        commonest=[
            (repr(shards.tokenizer.decode([token])), f"{counts.tokens[token] / counts.text:.2%}")
            for token in order
            if counts.tokens[token]
        ],
    )


def text_section(found: Mapping[str, Any]) -> Markup:
    """What a run read, as its manifest has it from `corpus.counts.summary`; empty when it has nothing."""
    return kit("text", tiles(found), lengths(found)) if found else Markup()


def tiles(found: Mapping[str, Any]) -> list[KeyFigure]:
    """Of a `corpus.counts.summary`."""
    held = found["held_out"]
    return [
        KeyFigure("Tokens", compact(found["tokens"]), f"and {compact(held['tokens'])} held out"),
        KeyFigure("Documents", f"{found['documents']:,}", f"and {held['documents']:,} held out"),
        KeyFigure("Bytes a token", f"{found['bytes_per_token']:.2f}", f"{compact(found['vocabulary'])} tokens known"),
        KeyFigure("Tokens a word", f"{found['tokens_per_word']:.2f}", "as word starts tell words apart"),
        KeyFigure("Unknown", f"{found['unknown']:.2%}", "of all tokens"),
        KeyFigure("Duplicates", f"{found['duplicates']:,}", f"of {found['read']:,} documents, left out"),
    ]


def lengths(found: Mapping[str, Any]) -> Markup:
    """Of a `corpus.counts.summary`: how long documents are."""
    about = (
        f"Half of the documents have at most {found['median_length']:,} tokens, one has {found['longest']:,}. "
        "Specials count; columns double in width."
    )
    return histogram(found["lengths"], about=about)
