"""Which curves a run's report shows, and what is said about each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from typing import Any

from bothways.corpus.ngrams import NAMES
from bothways.reports.curves import AXES, Axis, Chart, Curve
from bothways.reports.downloads import downloads
from bothways.reports.html import Markup, tag
from bothways.reports.record import Record, number

COLOURS, GREY = 8, 6
OWN = {name: colour for colour, name in enumerate(("causal", "mlm", "hybrid", "electra", "diffusion", "prefix"))}
"""Of objectives that have a colour of their own, the same in every picture; grey belongs to none."""
SMOOTH_FROM = 40  # points: fewer are shown as they are


def colours_of(objectives: Iterable[str]) -> dict[str, int]:
    """{objective or its loss: its colour}: its own, else the next that is free; all again when none is left."""
    names = list(dict.fromkeys(objectives))
    found = {name: OWN[name] for name in names if name in OWN}
    free = [colour for colour in range(COLOURS) if colour not in (*found.values(), GREY)]
    others = cycle(free or [colour for colour in range(COLOURS) if colour != GREY])
    return {name: found[name] if name in found else next(others) for name in names}


def section(record: Record) -> Markup:
    """All curves, with one switch for what the run is counted in; empty before there is anything to draw."""
    groups = {"What it learned": [*_losses(record), *_accuracies(record)], "How it ran": [*_machine(record)]}
    about = "Count the run in tokens, time, steps or arithmetic operations. Steep beginnings run off the top."
    return pictures(groups, record.train + record.validation, title="Over the run", about=about)


def pictures(
    groups: Mapping[str, Sequence[Chart]],
    lines: Sequence[dict[str, Any]],
    *,
    title: str,
    about: str,
    first: str = "tokens",
) -> Markup:
    """A section of charts in groups, with one switch for what is counted in, `first` at the beginning."""
    axes = [axis for axis in AXES if any((number(line, axis.key) or 0) > 0 for line in lines)]
    axes.sort(key=lambda axis: axis.key != first)
    drawn: list[Markup] = []
    for group, (name, charts) in enumerate(groups.items()):
        cards = [
            figure(chart, axes, f"picture-{group}-{place}")
            for place, chart in enumerate(charts)
            if any(curve.points for curve in chart.curves)
        ]
        heading = [tag("h3", name, class_="group")] if name else []
        drawn += [*heading, tag("div", *cards, class_="cards")] if cards else []
    if not axes or not drawn:
        return Markup()
    switch: list[Markup] = []
    for axis in axes:
        switch.append(tag("input", type="radio", name="axis", id=f"by-{axis.key}", checked=axis is axes[0]))
        switch.append(tag("label", axis.name, for_=f"by-{axis.key}"))
    return tag(
        "section",
        tag("h2", title),
        tag("p", about, class_="about"),
        tag("div", *switch, tag("div", *drawn, class_="charts"), class_="curves"),
    )


def figure(chart: Chart, axes: Sequence[Axis], name: str) -> Markup:
    """A chart with its legend over each of some axes; `name` is its own on the page."""
    legend = [
        tag(
            "li",
            tag("i", class_=f"{curve.style} colour-{curve.colour}"),
            f"{curve.name} ",
            tag("b", chart.told(curve)),
        )
        for curve in chart.curves
        if curve.points and curve.style != "noise"
    ]
    return tag(
        "figure",
        tag("h3", chart.title),
        tag("ul", *legend, class_="legend"),
        *(chart.draw(axis, f"{name}-{axis.key}") for axis in axes),
        tag("figcaption", chart.caption),
        downloads(chart.title, ("curve", *(axis.key for axis in axes), "value"), chart.numbers(axes)),
        class_="card",
    )


def _losses(record: Record) -> Iterator[Chart]:
    colours = colours_of(record.objectives)
    for name, colour in colours.items():
        held_out = replace(Curve.of("held-out text", record.validation, "losses", name), colour=colour)
        training = replace(Curve.of("training", record.train, "losses", name), style="training", colour=colour)
        behind = [training]
        if len(training.points) >= SMOOTH_FROM:
            behind = [training.smoothed(), replace(training, style="noise")]
        names = record.counted(name)
        asked, counting = {
            0: ("which verdict is right", ""),
            1: ("the tokens it was asked for", "guessing by how common a token is"),
        }.get(
            len(names), ("the next token of text, given those before it", "models that count tokens, pairs and triples")
        )
        dashed = f" Dashed: {counting}, on the same held-out text." if names else ""
        yield Chart(
            f"Loss: {name}",
            f"How surprised it is by {asked}, in nats: lower is better.{dashed}",
            [held_out, *behind],
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
    yield Chart(
        "Next tokens guessed right",
        "How often its first guess at the next token of held-out text is right. Dashed: the first guess of the "
        "counting models.",
        [replace(Curve.of("next token", record.validation, "next_accuracy"), colour=OWN["causal"])],
        _levels(record, "next_accuracy"),
        percent=True,
    )
    yield Chart(
        "Hidden tokens guessed right",
        "How often its first guess at a hidden token, seen from both sides, is right. Dashed: always guessing the "
        "commonest token.",
        [replace(Curve.of("hidden token", record.validation, "fill_accuracy"), colour=OWN["mlm"])],
        _levels(record, "fill_accuracy", NAMES[:1]),
        percent=True,
    )


def _machine(record: Record) -> Iterator[Chart]:
    for title, key, caption, percent in (
        ("Speed", "tokens_per_second", "Tokens of text trained on in a second, padding not counted.", False),
        (
            "Share of the machine's peak",
            "useful_share",
            "Useful arithmetic as a share of the fastest matrix product measured on this machine.",
            True,
        ),
        ("Padding", "padding", "The share of places in a batch that hold no text.", True),
        ("Learning rate", "learning_rate", "How large the steps are: up at first, down towards the end.", False),
        (
            "Gradient norm",
            "gradient_norm",
            "How strongly each step pulls, before clipping. Calm is good; a spike is a step to be wary of.",
            False,
        ),
    ):
        curve = replace(Curve.of(title.lower(), record.train, key), colour=GREY)
        noisy = key == "gradient_norm" and len(curve.points) >= SMOOTH_FROM
        curves = [curve.smoothed(), replace(curve, style="noise")] if noisy else [curve]
        typical = key in ("tokens_per_second", "useful_share")
        yield Chart(title, caption, curves, percent=percent, from_zero=True, typical=typical)


def _levels(record: Record, key: str, names: Sequence[str] = NAMES) -> list[tuple[str, float]]:
    return [(name, value) for name in names if (value := record.baseline(name, key)) is not None]
