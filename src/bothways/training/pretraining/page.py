"""A run's report: RUN/report.html, one file that needs nothing else, made from what the run folder holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bothways.corpus.ngrams import NAMES
from bothways.corpus.page import text_section
from bothways.files import write_text
from bothways.html import Cell, KeyFigure, TableRow, page
from bothways.html.curves import Curve
from bothways.terminal import compact
from bothways.training.pretraining import charts
from bothways.training.record import Record

SHOWN_ELSEWHERE = frozenset({"status", "baselines", "samples", "text"})
MOST_NATS = 100.0
WORDS = {
    "token": "What the model reads and writes: a word or a part of one, as its tokenizer cuts text.",
    "held-out text": "Documents that were set aside before training and never trained on.",
    "nats a token": "Surprise: minus the natural logarithm of the probability given to the right token. Guessing "
    "evenly among n tokens costs ln n.",
    "bits per byte": "The bits that a perfect coder led by the model would need for one byte of the text.",
    "perplexity": "e to the nats a token: among how many equally likely tokens it is as unsure. It depends on the "
    "tokenizer; bits per byte do not.",
    "n-gram baselines: unigram, bigram, trigram": "Models that only count how often tokens, pairs and triples of "
    "tokens occur in the training text (interpolated modified Kneser-Ney). A model that does not beat them has not "
    "learned to read.",
    "MFU": "Model FLOPs utilisation: the useful arithmetic as a share of the fastest matrix product measured here.",
}


def write_report(folder: Path) -> Path:
    """Writes RUN/report.html of a finished run from RUN/metrics.jsonl, manifest.json and config.yaml.

    Returns:
        The page written; it replaces an older one in one go.
    """
    path = folder / "report.html"
    write_text(path, render(Record.read(folder)))
    return path


def render(record: Record) -> str:
    """The whole page as HTML."""
    columns = [column for column in _columns(record) if column.ours is not None or any(column.theirs.values())]
    return page(
        "run.html",
        record=record,
        verdict=[*_verdict(record)],
        fill=record.final("fill_accuracy"),
        common=record.baseline("unigram", "fill_accuracy"),
        tiles=[*_tiles(record)],
        heads=["", *(Cell(column.name, column.note) for column in columns)],
        rows=[*_rows(record, columns)],
        cut=_cut(record),
        samples=_samples(record),
        charts=charts.section(record),
        text=text_section(record.manifest["text"]),
        facts=_facts(record),
        words=WORDS,
    )


def _verdict(record: Record) -> Iterator[tuple[str, str, str]]:
    """(objective, its bits for a byte, how that compares with n-grams), good or bad."""
    for name in record.objectives:
        bits = record.final("bits_per_byte", name)
        if bits is None:
            continue
        known = {gram: record.manifest["baselines"][gram]["bits_per_byte"] for gram in NAMES}
        beaten = [gram for gram, value in known.items() if bits < value]
        better = f"less than the {beaten[-1]}, but " if beaten else ""
        ahead = next((gram for gram in NAMES if gram not in beaten), None)
        compared = (
            f"less than any n-gram model (the best needs {min(known.values()):.3f})"
            if ahead is None
            else f"{better}no less than the {ahead} ({known[ahead]:.3f})"
        )
        yield name, f"{bits:.3f}", compared


def _tiles(record: Record) -> Iterator[KeyFigure]:
    """The figures that one looks for first; those that the objective does not have are left out."""
    one_way = next(filter(record.reads_one_way, record.objectives), None)
    for name, value, form, unit in (
        ("Held-out text", one_way and record.final("bits_per_byte", one_way), ".3f", "bits per byte"),
        ("Perplexity", one_way and _perplexity(record.final("losses", one_way)), ".1f", "a held-out token"),
        ("Next tokens", record.final("next_accuracy"), ".1%", "predicted right"),
        ("Hidden tokens", record.final("fill_accuracy"), ".1%", "predicted right"),
    ):
        if value is not None:
            yield KeyFigure(name, format(value, form), unit)
    last = record.train[-1]
    yield KeyFigure("Read", compact(last["tokens"]), f"tokens in {last['step']:,} steps")
    yield KeyFigure("Time", str(timedelta(seconds=round(last["seconds"]))), f"{compact(last['flops'])} FLOPs")
    speed, share = (Curve.of(key, record.train, key).median for key in ("tokens_per_second", "useful_share"))
    exceeded = sum("useful_share" in line and line["useful_share"] is None for line in record.train)
    mfu = f", {share:.1%} MFU" if share is not None else ""
    mfu += f"; {exceeded} step{'s' * (exceeded > 1)} above the measured peak" if share is not None and exceeded else ""
    yield KeyFigure("Speed", compact(speed or 0), f"tokens a second{mfu} (medians)")
    yield KeyFigure("Model", compact(record.manifest["model"]["parameters"]), "parameters")


@dataclass(frozen=True, slots=True)
class _Column:
    """One figure: the run's, and those of the n-grams that predict the same."""

    name: str
    note: str
    ours: float | None
    theirs: dict[str, float | None]
    percent: bool = False
    digits: int = 3

    def text(self, value: float) -> str:
        return f"{value:.1%}" if self.percent else f"{value:,.{self.digits}f}"

    def cell(self, gram: str) -> Cell | None:
        """A baseline's figure; in small print: is the run better, and by how much?"""
        theirs = self.theirs.get(gram)
        if theirs is None or self.ours is None:
            return None if theirs is None else Cell(self.text(theirs))
        gain = self.ours - theirs if self.percent else theirs - self.ours
        size = f"{100 * abs(gain):.1f} points" if self.percent else f"{abs(gain):,.{self.digits}f}"
        if not float(size.split()[0].replace(",", "")):
            return Cell(self.text(theirs), "the same")
        return Cell(self.text(theirs), *((f"beaten by {size}", "beaten") if gain > 0 else (f"ahead by {size}",)))


def _columns(record: Record) -> Iterator[_Column]:
    def grams(key: str, names: tuple[str, ...] = NAMES) -> dict[str, float | None]:
        return {name: record.baseline(name, key) for name in names}

    for name in record.objectives:
        theirs = grams("nats", record.counted(name))
        yield _Column(f"Loss: {name}", "nats, lower is better", record.final("losses", name), theirs)
    one_way = [name for name in record.objectives if record.reads_one_way(name)]
    for name in one_way or [""]:
        bits = record.final("bits_per_byte", name) if name else None
        title = f"Bits per byte: {name}" if len(one_way) > 1 else "Bits per byte"
        yield _Column(title, "lower is better", bits, grams("bits_per_byte"))
        theirs = {gram: _perplexity(value) for gram, value in grams("nats").items()}
        title = title.replace("Bits per byte", "Perplexity")
        yield _Column(title, "of a token, lower is better", _perplexity(record.final("losses", name)), theirs, digits=1)
    following, filled = record.final("next_accuracy"), record.final("fill_accuracy")
    yield _Column("Next token right", "higher is better", following, grams("next_accuracy"), percent=True)
    yield _Column("Hidden token right", "higher is better", filled, grams("fill_accuracy", NAMES[:1]), percent=True)


def _perplexity(nats: float | None) -> float | None:
    """Of a mean of nats a token; None where it is not known, or too large for a number."""
    return math.exp(nats) if nats is not None and nats < MOST_NATS else None


def _rows(record: Record, columns: list[_Column]) -> Iterator[TableRow]:
    """The run, and below it the n-grams, the best first."""
    ours = [None if column.ours is None else Cell(column.text(column.ours)) for column in columns]
    yield TableRow("This run", ours, "ours")
    for gram in reversed(NAMES):
        yield TableRow(gram.capitalize(), [column.cell(gram) for column in columns])


def _cut(record: Record) -> str:
    counted, of = (record.manifest["baselines"]["unigram"][key] for key in ("counted", "of"))
    if counted >= of:
        return ""
    return f" They counted {counted:,.0f} of the {of:,.0f} tokens of the training text, spread evenly over it."


def _samples(record: Record) -> dict[str, list[Any]]:
    """What the model fills in, how it goes on, and what it finds."""
    found = record.manifest["samples"]
    return {
        "fills": found["fills"],
        "continuations": [_continuation(**each) for each in found["continuations"]],
        "detections": [_detection(each) for each in found.get("detections", ())],
    }


def _continuation(prompt: str, text: str) -> tuple[str, str, str]:
    """What stands before the prompt, the prompt, and what follows it; a tokenizer may have changed its spaces."""
    return text.partition(prompt) if prompt in text else ("", prompt, text)


def _detection(sample: dict[str, Any]) -> tuple[list[tuple[str, float, bool]], str, str]:
    """(word, chance that it was replaced, one of the three likeliest?) of each; what was put in, for what."""
    words = [(each["word"], each["replaced"]) for each in sample["words"]]
    likeliest = sorted((chance for _, chance in words), reverse=True)[:3]
    return [(word, chance, chance in likeliest) for word, chance in words], sample["instead"], sample["hidden"]


def _facts(record: Record) -> dict[str, list[tuple[str, str]]]:
    """{title: rows}: model, data, versions and whatever else the manifest holds."""
    shown = {name: value for name, value in record.manifest.items() if name not in SHOWN_ELSEWHERE}
    loose = {name: value for name, value in shown.items() if not isinstance(value, dict)}
    cards = {name: value for name, value in shown.items() if isinstance(value, dict)} | {"run": loose}
    return {name.replace("_", " ").capitalize(): [*_flat(values)] for name, values in cards.items() if values}


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{above}{key}".replace("_", " ")
        if isinstance(value, dict):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, list):
            yield name, ", ".join(map(str, value)) or "–"
        elif isinstance(value, bool) or value is None:
            yield name, {True: "yes", False: "no", None: "–"}[value]
        elif isinstance(value, int):
            yield name, f"{value:,}"
        else:
            yield name, f"{value:.6g}" if isinstance(value, float) else str(value)
