"""A fine-tuning run as one HTML page: scores, curves, what is taken for what, how sure it is, where it is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bothways.files import write_text
from bothways.model import TaskHead
from bothways.reports.charts import SMOOTH_FROM, pictures
from bothways.reports.curves import Chart, Curve
from bothways.reports.html import Markup, row, table, tag
from bothways.reports.page import document
from bothways.reports.record import Record
from bothways.reports.text import lengths
from bothways.statistics import calibration
from bothways.tasks.task import Example, Task

MOST_LABELS, MOST_MISTAKES = 20, 20
LONGEST_TEXT = 600  # characters of an example that are shown
IN_WORDS = {
    "f1": "F1",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "matthews": "Matthews correlation",
    "spearman": "Spearman correlation",
    "pearson": "Pearson correlation",
    "mean_squared_error": "mean squared error",
    "exact": "exact match",
    "whole": "intent and slots right",
    "intent_accuracy": "intent accuracy",
    "mrr": "mean reciprocal rank",
    "recall_at_1": "found first",
    "recall_at_10": "found among ten",
}
"""What metrics are called on the page, where that is not their key."""


def write_report(
    folder: Path,
    task: Task,
    examples: Sequence[Example],
    predictions: Sequence[dict[str, Any]],
    head: TaskHead,
    *,
    where: str,
) -> Path:
    """Writes report.html into a run's folder; `examples` are those it is measured on, `where` what they are called."""
    record = Record.read(folder)
    manifest = record.manifest
    sections = [_scores(record), _curves(record), _lengths(record)]
    if any(isinstance(example.gold, str) for example in examples):  # one label
        sections += [_confusion(examples, predictions, head, where), _sureness(examples, predictions, where)]
    wrong = [
        (*mistake, example)
        for example, one in zip(examples, predictions, strict=True)
        if (mistake := task.mistake(example, one, head)) is not None
    ]
    sections += [_mistakes(wrong, where), _facts(manifest)]
    header = tag(
        "header",
        tag("p", "A Bothways fine-tuning run", class_="kind"),
        tag("h1", record.name, tag("span", str(manifest.get("status", "")), class_="status done")),
        tag("dl", *_tiles(record), class_="tiles"),
    )
    foot = "Written by Bothways from metrics.jsonl and manifest.json beside this page."
    path = folder / "report.html"
    write_text(path, document(f"{record.name}: a Bothways fine-tuning run", header, *sections, foot=foot))
    return path


def in_words(metric: str) -> str:
    """A metric's name as one writes it."""
    if metric.startswith("slot_"):
        return f"slots: {in_words(metric.removeprefix('slot_'))}"
    return IN_WORDS.get(metric, metric)


def _why(record: Record) -> str:
    """Why an epoch was kept: it was the best, or the first of those that were alike."""
    first, *_ = record.manifest["best"]["scores"]
    best = max(line["scores"][first] for line in record.validation)
    alike = [str(line["epoch"]) for line in record.validation if line["scores"][first] == best]
    return f"best {in_words(first)} on dev" if len(alike) == 1 else f"the first of {', '.join(alike)}: alike on dev"


def _tiles(record: Record) -> Iterator[Markup]:
    manifest = record.manifest
    scores = manifest.get("test") or manifest["best"]["scores"]
    where = "on the test examples" if manifest.get("test") else "on the dev examples"
    tiles = [(in_words(name), f"{value:.3f}", where) for name, value in list(scores.items())[:4]]
    examples = manifest["examples"]
    tiles.append(("Examples", f"{examples['train']:,}", f"train; {examples['dev']:,} dev, {examples['test']:,} test"))
    tiles.append(("Epoch kept", str(manifest["best"]["epoch"]), _why(record)))
    for name, figure, unit in tiles:
        parts = tag("dt", name), tag("dd", figure, class_="figure"), tag("dd", unit, class_="unit")
        yield tag("div", *parts, class_="tile")


def _scores(record: Record) -> Markup:
    """The scores of every epoch, and of the test with its interval."""
    names = list(record.validation[-1]["scores"])
    rows = [
        row(f"Epoch {line['epoch']}", *(f"{line['scores'][name]:.4f}" for name in names)) for line in record.validation
    ]
    test, spans = record.manifest.get("test"), record.manifest.get("test_intervals")
    if test and spans:
        cells = [[f"{test[name]:.4f}", tag("small", f"{spans[name][0]:.3f} to {spans[name][1]:.3f}")] for name in names]
        rows.append(row("Test", *cells, class_="ours"))
    majority = record.manifest.get("majority")
    if majority:
        always = f"Always {majority['answer']!r}, {'test' if test else 'dev'}"
        rows.append(row(always, *(f"{majority['scores'][name]:.4f}" for name in names)))
    about = (
        "Dev examples after every epoch. In small print: 95 % of what other test examples would have given (bootstrap)."
    )
    warnings = [tag("p", f"Warning: {line}.", class_="about") for line in record.manifest.get("warnings") or ()]
    heads = ("", *map(in_words, names))
    return _section("How well it does", about, *warnings, table(heads, rows))


def _curves(record: Record) -> Markup:
    loss = replace(Curve.of("training", record.train, "loss"), style="training")
    behind = [loss.smoothed(), replace(loss, style="noise")] if len(loss.points) >= SMOOTH_FROM else [loss]
    speed = Curve.of("examples a second", record.train, "examples_per_second")
    speed = speed.smoothed() if len(speed.points) >= SMOOTH_FROM else speed
    charts = [
        Chart("Loss", "What is minimised, on training examples.", behind),
        Chart(
            "Learning rate",
            "Up at first, then down to nothing.",
            [Curve.of("rate", record.train, "learning_rate")],
            from_zero=True,
            whole=True,
        ),
        Chart("Examples a second", "Looks at the dev examples left out.", [speed], from_zero=True, typical=True),
        Chart(
            "Padding",
            "Places in a batch that hold no text.",
            [Curve.of("padding", record.train, "padding")],
            percent=True,
        ),
    ]
    first = next(iter(record.validation[-1]["scores"]))
    charts.insert(
        1,
        Chart(in_words(first), "On the dev examples.", [Curve.of(in_words(first), record.validation, "scores", first)]),
    )
    return pictures(
        {"": charts},
        record.train,
        title="Over the run",
        about="Count in steps or in time. Steep beginnings run off the top.",
        first="step",
    )


def _lengths(record: Record) -> Markup:
    about = "Tokens of the training texts, specials included, cut where the model ends. Columns double in width."
    return tag(
        "section",
        tag("h2", "What it read"),
        tag("div", lengths(record.manifest["lengths"], about=about, what="texts"), class_="cards"),
    )


def _confusion(
    examples: Sequence[Example], predictions: Sequence[dict[str, Any]], head: TaskHead, where: str
) -> Markup:
    """What is taken for what; of many labels, the commonest."""
    golds = [example.gold for example in examples]
    labels = sorted(head.labels, key=lambda label: -golds.count(label))[:MOST_LABELS]
    counts = Counter(zip(golds, (one["label"] for one in predictions), strict=True))
    most = max(counts.values())

    def cell(gold: str, label: str) -> Markup:
        count = counts[gold, label]
        colour = "good" if gold == label else "warn"
        style = f"background: color-mix(in srgb, var(--{colour}) {60 * count / most:.0f}%, var(--card))"
        return tag("td", str(count or ""), style=style)

    rows = [tag("tr", tag("th", gold, scope="row"), *(cell(gold, label) for label in labels)) for gold in labels]
    left = f" The {len(labels)} commonest of {len(head.labels)} labels." if len(labels) < len(head.labels) else ""
    about = f"Rows: the right label; columns: what it predicted for the {where} examples.{left}"
    return _section("What is taken for what", about, table(("", *labels), rows))


def _sureness(examples: Sequence[Example], predictions: Sequence[dict[str, Any]], where: str) -> Markup:
    chances = np.array([one["probabilities"][one["label"]] for one in predictions])
    right = np.array([one["label"] == example.gold for example, one in zip(examples, predictions, strict=True)])
    error, bins = calibration(chances, right)
    rows = [row(f"{mean:.0%} sure", f"{true:.0%}", f"{count:,}") for mean, true, count in bins]
    about = (
        f"How often it was right where it was so sure, on the {where} examples. Expected calibration error "
        f"{error:.3f}: 0 is a model that is right as often as its probabilities say."
    )
    return _section("How sure it is", about, table(("", "right", "predictions"), rows))


def _mistakes(wrong: Sequence[tuple[float, Sequence[tuple[str, str]], Example]], where: str) -> Markup:
    """The surest predictions that were wrong, with their texts."""
    found = sorted(wrong, key=lambda one: -one[0])[:MOST_MISTAKES]
    if not found:
        return Markup()
    cards = [
        tag(
            "article",
            tag("p", _short(" / ".join(text for text in example.texts if text)), class_="fill"),
            tag("table", *(row(name, text) for name, text in (*_things(example), *shown)), class_="facts"),
            class_="card",
        )
        for _, shown, example in found
    ]
    about = (
        f"The surest of its wrong predictions on the {where} examples. Some of them may be right, and the file wrong."
    )
    return _section("Where it is wrong", about, tag("div", *cards, class_="columns"))


def _things(example: Example) -> Sequence[tuple[str, str]]:
    """Of a relation: between what."""
    if example.pair is None:
        return ()
    things = (example.pair.text[start:end] for start, end in example.pair.things)
    return tuple(zip(("first", "second"), things, strict=True))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _facts(manifest: dict[str, Any]) -> Markup:
    skipped = manifest.get("skipped", [])
    rows = [
        row("Columns", manifest["columns"]),
        *([row("Tags", manifest["tags"])] if manifest.get("tags") else []),
        row("Cut texts", cut_texts(manifest["truncated"])),
        row("Skipped records", "; ".join(skipped[:MOST_MISTAKES]) or "none"),
        row("Precision", manifest["precision"]),
        row("Labels", ", ".join(manifest["labels"])),
    ]
    return tag("section", tag("h2", "What was run"), tag("div", tag("table", *rows, class_="facts"), class_="card"))


def _section(title: str, about: str, *content: Markup) -> Markup:
    return tag("section", tag("h2", title), tag("p", about, class_="about"), *content)


def cut_texts(truncated: dict[str, int]) -> str:
    """How many were longer than is read, of which file."""
    counts = ", ".join(f"{truncated[side]} of {side}" for side in ("train", "dev", "test") if truncated.get(side))
    return f"{counts}, at {truncated['length']} tokens" if counts else "none"
