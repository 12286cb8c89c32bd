"""A run's report: RUN/report.html, one file that needs nothing else, made from what the run folder says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from bothways.corpus.ngrams import NAMES
from bothways.reports import charts, text
from bothways.reports.curves import Curve
from bothways.reports.html import Markup, tag
from bothways.reports.record import Record, latest, number
from bothways.reports.style import SCRIPT, STYLE
from bothways.reports.tables import facts, final_figures, samples
from bothways.terminal import compact

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
WORDS = {
    "token": "What the model reads and writes: a word or a part of one, as its tokenizer cuts text.",
    "held-out text": "Documents that were set aside before training and never trained on.",
    "nats a token": "Surprise: minus the natural logarithm of the probability given to the right token. Guessing "
    "evenly among n tokens costs ln n.",
    "bits per byte": "The bits that a perfect coder led by the model would need for one byte of the text.",
    "unigram, bigram, trigram": "Models that only count how often tokens, pairs and triples of tokens occur in the "
    "training text (interpolated modified Kneser-Ney). A model that does not beat them has not learned to read.",
}


def write_report(run_folder: str | os.PathLike[str]) -> Path:
    """Write RUN/report.html from RUN/metrics.jsonl, manifest.json and config.yaml, as far as they are there.

    Returns:
        The page written; it replaces an older one in one go.

    Raises:
        UsageError: there is no such folder.
    """
    folder = Path(run_folder)
    page, aside = folder / "report.html", folder / "report.html.new"
    aside.write_text(render(Record.read(folder)), encoding="utf-8")
    aside.replace(page)
    return page


def render(record: Record) -> str:
    """The whole page as HTML."""
    sections = [
        final_figures(record),
        samples(record),
        charts.section(record),
        text.section(record),
        facts(record),
        explained(WORDS),
    ]
    foot = "Written by Bothways from metrics.jsonl, manifest.json and config.yaml beside this page."
    return document(f"{record.name}: a Bothways run", _header(record), *sections, foot=foot)


def document(title: str, header: Markup, *sections: Markup, foot: str) -> str:
    """A whole page that needs nothing else: the house's style and script in it, and nothing may be fetched."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    body = tag("body", header, tag("main", *sections), tag("footer", foot), tag("script", Markup(SCRIPT)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _header(record: Record) -> Markup:
    status = str(record.manifest.get("status", "just started"))
    progress = latest(number(line, "progress") for line in record.train)
    if progress is not None and status != "done":
        status += f", {progress:.0%} done"
    notes = []
    if skipped := int(latest(number(line, "skipped") for line in record.train) or 0):
        notes.append(f"{skipped} step{'s' * (skipped > 1)} skipped because a number was not finite.")
    if record.unread:
        notes.append(f"{record.unread} line{'s' * (record.unread > 1)} of metrics.jsonl could not be read.")
    mark = tag("span", status, class_="status done" if status == "done" else "status")
    return tag(
        "header",
        tag("p", "A Bothways run", class_="kind"),
        tag("h1", record.name, mark),
        tag("p", *_verdict(record), class_="lead"),
        *(tag("p", note, class_="note") for note in notes),
        tag("dl", *_tiles(record), class_="tiles"),
    )


def _verdict(record: Record) -> Iterator[str]:
    """What was learned, in a sentence or two, good or bad."""
    if not record.validation:
        yield "Nothing has been measured on held-out text yet."
        return
    for name in record.objectives:
        bits = record.final("bits_per_byte", name)
        if bits is None:
            continue
        known = [(gram, value) for gram in NAMES if (value := record.baseline(gram, "bits_per_byte")) is not None]
        beaten = [gram for gram, value in known if bits < value]
        yield from (
            f"Reading one way ({name}), it needs ",
            tag("b", f"{bits:.3f} bits"),
            " for a byte of held-out text",
        )
        if known and len(beaten) == len(known):
            yield f": less than any counting model (the best needs {min(value for _, value in known):.3f})"
        elif known:
            better = f"less than the {beaten[-1]}, but " if beaten else ""
            ahead = next((gram, value) for gram, value in known if gram not in beaten)
            yield f": {better}no less than the {ahead[0]} ({ahead[1]:.3f})"
        yield ". "
    if (fill := record.final("fill_accuracy")) is not None:
        yield from ("It guesses ", tag("b", f"{fill:.1%}"), " of hidden tokens right")
        if common := record.baseline("unigram", "fill_accuracy"):
            yield f", {fill / common:.1f} times what always guessing the commonest token does"
        yield "."


def _tiles(record: Record) -> Iterator[Markup]:
    """The figures one asks for first; those not known yet are left out."""

    def tile(name: str, value: float | None, form: Callable[[float], str], unit: str) -> Iterator[Markup]:
        if value is not None:
            said = tag("dd", form(value), class_="figure"), tag("dd", unit, class_="unit")
            yield tag("div", tag("dt", name), *said, class_="tile")

    bits = (record.final("bits_per_byte", name) for name in record.objectives if record.reads_one_way(name))
    yield from tile("Held-out text", next(bits, None), "{:.3f}".format, "bits per byte")
    yield from tile("Next tokens", record.final("next_accuracy"), "{:.1%}".format, "guessed right")
    yield from tile("Hidden tokens", record.final("fill_accuracy"), "{:.1%}".format, "guessed right")
    last = record.last
    steps, flops = number(last, "step"), number(last, "flops")
    yield from tile("Read", number(last, "tokens"), compact, f"tokens in {steps or 0:,.0f} steps")
    operations = f"{compact(flops)} operations" if flops else ""
    yield from tile("Time", number(last, "seconds"), lambda taken: str(timedelta(seconds=round(taken))), operations)
    speed, share = (Curve.of(key, record.train, key).median for key in ("tokens_per_second", "useful_share"))
    of_peak = f", {share:.1%} of peak" if share is not None else ""
    yield from tile("Speed", speed, compact, f"tokens a second{of_peak} (medians)")
    yield from tile("Model", number(record.manifest, "model", "parameters"), compact, "weights")


def explained(words: Mapping[str, str]) -> Markup:
    """The words of a page with their meanings, folded."""
    pairs = [part for word, meaning in words.items() for part in (tag("dt", word), tag("dd", meaning))]
    return tag("details", tag("summary", "The words on this page"), tag("dl", *pairs, class_="words"), class_="card")
