"""A comparison on one page that needs nothing else: which is better, is it more than chance, and what it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from markupsafe import Markup

from bothways.corpus.ngrams import NAMES
from bothways.corpus.page import text_section
from bothways.evaluation.comparison.results import (
    BEHIND,
    COSTS,
    against_the_best,
    contaminated,
    costs,
    figure,
    figures,
    summary,
    unequal,
)
from bothways.html import Cell, KeyFigure, TableRow, page, token_name
from bothways.html.charts import colours_of, pictures
from bothways.html.curves import Chart, Curve, number
from bothways.html.intervals import Dot
from bothways.html.intervals import figure as intervals
from bothways.terminal import compact
from bothways.training.record import Record

WORDS = {
    "tied": "The difference is not larger than its interval: chance in seeds and items could have made it.",
    "± after a difference": "The half-width of its 95 % interval. It holds for all pairs of objectives of a metric "
    "together (Tukey), and counts both chances: that of the run, from residuals over seeds pooled over the objectives, "
    "and that of the items, from a bootstrap.",
    "bound": "The figure is an upper bound of the true one, and decides nothing, worse or better.",
    "learning rate": "Each objective's own: the best of a few short runs by its own loss on held-out text.",
    "FLOPs": "Matrix products, forward and twice that backward, attention counted, look-ups free; a generator's count.",
}


def render(result: dict[str, Any], records: Mapping[str, Sequence[Record]]) -> str:
    """The whole page as HTML; `records` are the runs of each objective."""
    colours = colours_of(entry["objective"] for entry in result["objectives"])
    first = next(iter(records.values()), ())  # all read the same
    return page(
        "comparison.html",
        result=result,
        colours=colours,
        unequal=unequal(result),
        tiles=[*_tiles(result)],
        heads=["", *(Cell(each["short"], f"{each['better']} is better") for each in result["metrics"])],
        rows=figures(result),
        summary=summary,
        figure=figure,
        differences=_differences,
        intervals=_intervals(result, colours),
        contamination=[*map(contaminated, result["contamination"])],
        charts=_curves(records, colours),
        text=text_section(first[0].manifest.get("text") or {}) if first else "",
        samples=_samples(result["samples"]),
        cost_heads=["", *COSTS],
        costs=costs(result),
        words=WORDS,
    )


def _tiles(result: dict[str, Any]) -> Iterator[KeyFigure]:
    (unit, amount), *_ = result["budget"].items()
    trials = sum(entry["search"]["flops"] for entry in result["objectives"])
    spent = trials + sum(entry["flops"] for entry in result["objectives"]) * result["seeds"]
    yield KeyFigure("Budget of a run", compact(amount), unit if unit != "flops" else "FLOPs")
    yield KeyFigure("Seeds", str(result["seeds"]), "runs of each objective")
    yield KeyFigure("Size", result["size"], f"{compact(result['objectives'][0]['parameters'])} parameters")
    yield KeyFigure("Search", f"{trials / spent:.0%}", "of all operations, for learning rates")


def _differences(metric: dict[str, Any]) -> list[TableRow]:
    return [
        TableRow(
            f"{each['better']} {'over' if each['verdict'] == BEHIND else 'and'} {each['worse']}",
            [f"{figure(each['difference'])} ± {figure(each['half_width'])}", each["verdict"]],
        )
        for each in metric["differences"]
    ]


def _intervals(result: dict[str, Any], colours: Mapping[str, int]) -> list[Markup]:
    """A picture of each metric that several objectives have a figure of: every mean, and around it the interval of its
    difference from the best one."""
    found = []
    for metric in result["metrics"]:
        dots = _dots(metric)
        bounds = " Bounds are left out." * any(one["bound"] for one in metric["objectives"])
        caption = (
            f"{metric['name'][:1].upper()}{metric['name'][1:]}: {metric['better']} is better. Dashed: the best mean. "
            f"Bars: the interval (95 %) of the difference from it; those that reach it are tied.{bounds}"
        )
        if len(dots) > 1:
            found.append(intervals(metric["short"], caption, dots, colours=colours, chance=dots[0].value))
    return found


def _dots(metric: dict[str, Any]) -> list[Dot]:
    """The best first; it has no bar: the others' are of their differences from it."""
    halves = {name: found["half_width"] for name, found in against_the_best(metric).items()}
    exact = [one for one in metric["objectives"] if not one["bound"]]
    means = [(one["objective"], one["mean"], halves.get(one["objective"], 0.0)) for one in exact]
    return [Dot(name, name, mean, mean - half, mean + half) for name, mean, half in means]


def _curves(records: Mapping[str, Sequence[Record]], colours: Mapping[str, int]) -> Markup:
    every = [record for some in records.values() for record in some]
    lines = [line for record in every for line in record.validation]
    charts = []
    for title, caption, keys, percent in (
        ("Bits per byte", "Lower is better.", ("bits_per_byte", "causal"), False),
        ("Next tokens predicted right", "Higher is better.", ("next_accuracy",), True),
        ("Hidden tokens predicted right", "Higher is better.", ("fill_accuracy",), True),
    ):
        curves = [curve for name, some in records.items() for curve in _of_seeds(name, some, colours[name], *keys)]
        grams = [(gram, record.baseline(gram, keys[0])) for record in every[:1] for gram in NAMES]
        levels = [(gram, value) for gram, value in grams if value is not None]
        charts.append(Chart(title, caption, curves, levels if curves else (), percent=percent))
    about = "Held-out text during training: thick, the mean over the seeds; thin, each seed. Dashed: n-gram baselines."
    return pictures({"": charts}, lines, title="Learning against compute", about=about, first="flops")


def _of_seeds(name: str, some: Sequence[Record], colour: int, *keys: str) -> Iterator[Curve]:
    """Every run thin, and their mean, validation by validation."""
    single = [replace(Curve.of(name, record.validation, *keys), style="noise", colour=colour) for record in some]
    if not all(curve.points for curve in single):
        return
    points = [
        (
            {axis: fmean(number(line, axis) or 0.0 for line, _ in at) for axis in at[0][0]},
            fmean(value for _, value in at),
        )
        for at in zip(*(curve.points for curve in single), strict=False)
    ]
    yield Curve(name, points, colour=colour)
    yield from single if len(single) > 1 else ()


def _samples(found: Mapping[str, dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """{text: (objective, what its first run makes of it) of each}."""
    fills: dict[str, list[tuple[str, str]]] = {}
    continuations: dict[str, list[tuple[str, str]]] = {}
    for name, samples in found.items():
        for fill in samples.get("fills", ()):
            answers = fill["answers"][:3]
            guesses = ", ".join(f"{token_name(each['token'])} {each['probability']:.0%}" for each in answers)
            fills.setdefault(f"{fill['text']}  ({fill['hidden']})", []).append((name, guesses))
        for each in samples.get("detections", ()):
            words = sorted(each["words"], key=lambda word: -word["replaced"])[:3]
            judged = "replaced? " + ", ".join(f"{word['word']} {word['replaced']:.0%}" for word in words)
            detected = f"“{each['instead']}” put in; {judged}"
            fills.setdefault(f"{each['text']}  ({each['hidden']})", []).append((name, detected))
        for each in samples.get("continuations", ()):
            rest = each["text"].removeprefix(each["prompt"]).removesuffix(each["prompt"])
            continuations.setdefault(each["prompt"], []).append((name, rest))
    return {**fills, **continuations}
