"""Shards on one page: where the text came from, what was left out, how it is cut, how long documents are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bothways.corpus import Shards
from bothways.corpus.shards import Stream
from bothways.reports.html import Markup, tag
from bothways.reports.page import document
from bothways.training.display import compact

AT_ONCE = 1 << 22  # pieces in memory
LENGTHS = (64, 128, 256, 512, 1024)
COMMONEST = 30
WIDTH, HEIGHT, LEFT, BOTTOM = 640, 220, 52, 40
STYLE = "svg.bars rect { fill: var(--colour-0); } svg.bars { width: 100%; }"


@dataclass(frozen=True, slots=True)
class Counts:
    """Of a stream; letters: D documents, V pieces of the vocabulary.

    lengths  [D] pieces of each document, specials included
    words    how many begin
    text     pieces that are text
    pieces   [V] how often each stands there
    """

    lengths: np.ndarray
    words: int
    text: int
    pieces: np.ndarray

    def padded(self, length: int) -> float:
        """The share of a row that would be padding, were every document alone in rows of this length."""
        rows = np.ceil(self.lengths / length)
        return float(1 - self.lengths.sum() / (rows.sum() * length))


def counted(shards: Shards, stream: Stream) -> Counts:
    """Reads all of it, a part at a time.

    Raises:
        DataError: a block that is not what was written.
    """
    is_text, begins = shards.vocabulary.text_table(), [np.empty(0, dtype=np.int64)]
    words, pieces = 0, np.zeros(shards.vocabulary.size, dtype=np.int64)
    for start in range(0, stream.pieces, AT_ONCE):
        some, starts = stream.read(start, min(start + AT_ONCE, stream.pieces))
        begins.append(np.flatnonzero(some == shards.vocabulary.cls) + start)
        text = is_text[some]
        words += int((starts & text).sum())
        pieces += np.bincount(some[text], minlength=len(pieces))
    lengths = np.diff([*np.concatenate(begins), stream.pieces])
    return Counts(lengths=lengths, words=words, text=int(pieces.sum()), pieces=pieces)


def corpus_report(shards: Shards, name: str) -> str:
    """One HTML file."""
    counts = counted(shards, shards.train)
    header = tag(
        "header",
        tag("style", Markup(STYLE)),
        tag("p", "A Bothways corpus", class_="kind"),
        tag("h1", name),
        tag("dl", *_tiles(shards, counts), class_="tiles"),
    )
    sections = [
        _section("Where it came from", "Documents read, and why some were left out.", _sources(shards)),
        _section("How long documents are", "Pieces, specials included; columns double in width.", _lengths(counts)),
        _section(
            "What padding would cost",
            "Were every document alone in rows. Training packs rows, and pads hardly anything.",
            _rows(counts),
        ),
        _section("The commonest pieces", "Share of all pieces of text.", _commonest(shards, counts)),
    ]
    foot = f"Counted over the training stream. Fingerprint {shards.fingerprint}."
    return document("A Bothways corpus", header, *sections, foot=foot)


def _section(title: str, about: str, content: Markup) -> Markup:
    return tag("section", tag("h2", title), tag("p", about, class_="about"), content)


def _tiles(shards: Shards, counts: Counts) -> Iterator[Markup]:
    train, validation = shards.manifest.train, shards.manifest.validation
    left_out = sum(source.duplicates for source in shards.manifest.sources)
    read = sum(source.documents for source in shards.manifest.sources)
    for name, value, note in (
        ("Pieces", compact(train.pieces), f"and {compact(validation.pieces)} held out"),
        ("Documents", f"{train.documents:,}", f"and {validation.documents:,} held out"),
        ("Bytes a piece", f"{train.bytes_per_piece:.2f}", f"{compact(shards.vocabulary.size)} pieces known"),
        ("Pieces a word", f"{counts.text / max(1, counts.words):.2f}", "as word starts tell words apart"),
        ("Unknown", f"{train.unknown / max(1, train.pieces):.2%}", "of all pieces"),
        ("Duplicates", f"{left_out:,}", f"of {read:,} documents, left out"),
    ):
        yield tag(
            "div", tag("dt", name), tag("dd", value, class_="figure"), tag("dd", note, class_="unit"), class_="tile"
        )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    body = (tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows)
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in heads)))
    return tag("div", tag("table", head, tag("tbody", *body)), class_="wide")


def _sources(shards: Shards) -> Markup:
    rows = [
        (
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
    return _table(("source", "documents", "MB", "weight", "duplicates", "excluded", "skipped"), rows)


def _lengths(counts: Counts) -> Markup:
    """A histogram whose columns double."""
    edges = 2 ** np.arange(0, int(np.log2(counts.lengths.max())) + 2)
    bars = np.histogram(counts.lengths, edges)[0]
    first = int(np.flatnonzero(bars)[0])
    bars, edges = bars[first:], edges[first:]
    step, most = (WIDTH - LEFT) / len(bars), max(1, int(bars.max()))
    drawn: list[Markup] = []
    for i, count in enumerate(bars.tolist()):
        height = (HEIGHT - BOTTOM - 16) * count / most
        x, y = LEFT + i * step, HEIGHT - BOTTOM - height
        label = f"{edges[i]:,} to {edges[i + 1] - 1:,} pieces: {count:,} documents"
        drawn += [
            tag("rect", tag("title", label), x=x + 2, y=y, width=step - 4, height=height, rx=3),
            tag("text", compact(int(edges[i])), x=x + step / 2, y=HEIGHT - BOTTOM + 18, class_="middle"),
            tag("text", f"{count / len(counts.lengths):.0%}", x=x + step / 2, y=y - 4, class_="middle"),
        ]
    words = tag("text", "pieces", x=LEFT + (WIDTH - LEFT) / 2, y=HEIGHT - 4, class_="middle words")
    picture = tag(
        "svg", *drawn, words, viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="bars", role="img", aria_label="lengths"
    )
    middle, longest = int(np.median(counts.lengths)), int(counts.lengths.max())
    said = f"Half of the documents have at most {middle:,} pieces, one has {longest:,}."
    return tag("figure", picture, tag("figcaption", said), class_="card")


def _rows(counts: Counts) -> Markup:
    rows = [(f"{length:,}", f"{counts.padded(length):.1%}") for length in LENGTHS]
    return _table(("pieces in a row", "padding"), rows)


def _commonest(shards: Shards, counts: Counts) -> Markup:
    order = np.argsort(-counts.pieces, kind="stable")[:COMMONEST]
    items = (
        tag("li", repr(shards.tokenizer.decode([piece])), " ", tag("b", f"{counts.pieces[piece] / counts.text:.2%}"))
        for piece in order.tolist()
        if counts.pieces[piece]
    )
    return tag("ul", *items, class_="legend")
