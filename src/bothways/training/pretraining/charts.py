"""The charts of a pretraining run: what it learned, beside n-gram baselines, and how it ran."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from markupsafe import Markup

from bothways.corpus.ngrams import NAMES
from bothways.html.charts import OWN, colours_of, pictures
from bothways.html.curves import Chart, Curve
from bothways.training.charts import how_it_ran, smoothed
from bothways.training.record import Record


def section(record: Record) -> Markup:
    """All curves, with one switch for what the run is counted in; empty before there is anything to draw."""
    groups = {"What it learned": [*_losses(record), *_accuracies(record)], "How it ran": [*how_it_ran(record)]}
    about = "Count the run in tokens, time, steps or arithmetic operations. Steep beginnings run off the top."
    return pictures(groups, record.train + record.validation, title="Over the run", about=about)


def _losses(record: Record) -> Iterator[Chart]:
    colours = colours_of(record.objectives)
    for name, colour in colours.items():
        held_out = replace(Curve.of("held-out text", record.validation, "losses", name), colour=colour)
        training = replace(Curve.of("training", record.train, "losses", name), style="training", colour=colour)
        names = record.counted(name)
        target, baseline = {
            0: ("the right class", ""),
            1: ("its prediction targets", "the unigram baseline"),
        }.get(len(names), ("the next token of text, given those before it", "n-gram baselines"))
        dashed = f" Dashed: {baseline}, on the same held-out text." if names else ""
        yield Chart(
            f"Loss: {name}",
            f"How surprised it is by {target}, in nats: lower is better.{dashed}",
            [held_out, *smoothed(training)],
            _levels(record, "nats", names),
        )
    yield Chart(
        "Bits per byte",
        "The same surprise for each byte of the original text, so that models that cut text into other tokens can be "
        "compared: lower is better.",
        [
            replace(Curve.of(name, record.validation, "bits_per_byte", name), colour=colour)
            for name, colour in colours.items()
            if record.reads_one_way(name)
        ],
        _levels(record, "bits_per_byte"),
    )


def _accuracies(record: Record) -> Iterator[Chart]:
    for title, curve, key, colour, caption, names in (
        (
            "Next tokens predicted right",
            "next token",
            "next_accuracy",
            OWN["causal"],
            "How often its first guess at the next token of held-out text is right. Dashed: n-gram baselines.",
            NAMES,
        ),
        (
            "Hidden tokens predicted right",
            "hidden token",
            "fill_accuracy",
            OWN["mlm"],
            "How often its first guess at a hidden token is right. Dashed: the unigram baseline.",
            NAMES[:1],
        ),
    ):
        curves = [replace(Curve.of(curve, record.validation, key), colour=colour)]
        yield Chart(title, caption, curves, _levels(record, key, names), percent=True)


def _levels(record: Record, key: str, names: Sequence[str] = NAMES) -> list[tuple[str, float]]:
    return [(name, value) for name in names if (value := record.baseline(name, key)) is not None]
