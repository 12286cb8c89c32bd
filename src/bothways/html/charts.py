"""Charts on a page: their colours, a section of them with a switch between axes, a histogram of lengths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

from markupsafe import Markup

from bothways.html.curves import AXES, Axis, Chart, Curve, number
from bothways.html.page import kit

COLOURS, GREY = 8, 6
OWN = {name: colour for colour, name in enumerate(("causal", "mlm", "hybrid", "electra", "diffusion", "prefix"))}
"""Of objectives that have a colour of their own, the same in every picture; grey belongs to none."""
SMOOTH_FROM = 40  # points: fewer are shown as they are
LAYER = Axis("layer", "Layers", "layers from the embeddings")
WIDTH, LEFT, BOTTOM, TALLEST = 640, 52, 180, 164  # of a histogram


def colours_of(objectives: Iterable[str]) -> dict[str, int]:
    """{objective or its loss: its colour}: its own, else the next that is free; all again when none is left."""
    names = list(dict.fromkeys(objectives))
    found = {name: OWN[name] for name in names if name in OWN}
    free = [colour for colour in range(COLOURS) if colour not in (*found.values(), GREY)]
    others = cycle(free or [colour for colour in range(COLOURS) if colour != GREY])
    return {name: found[name] if name in found else next(others) for name in names}


def pictures(
    groups: Mapping[str, Sequence[Chart]],
    lines: Sequence[dict[str, Any]],
    *,
    title: str,
    about: str,
    first: str = "tokens",
) -> Markup:
    """A section of charts in groups, with one switch for what is counted in, `first` at the beginning; empty before
    there is anything to draw."""
    axes = [axis for axis in AXES if any((number(line, axis.key) or 0) > 0 for line in lines)]
    axes.sort(key=lambda axis: axis.key != first)
    drawn = {name: [chart for chart in charts if chart.points] for name, charts in groups.items()}
    if not axes or not any(drawn.values()):
        return Markup()
    return kit("pictures", title, about, {name: charts for name, charts in drawn.items() if charts}, axes)


def layers(
    title: str, caption: str, found: Mapping[str, Sequence[float]], levels: Sequence[tuple[str, float]] = ()
) -> tuple[Chart, Sequence[Axis]]:
    """A chart over the layers of models, the embeddings first: {model: a value for each}; and its axis."""
    curves = [
        Curve(name, [({LAYER.key: float(i)}, value) for i, value in enumerate(values)], colour=place % COLOURS)
        for place, (name, values) in enumerate(found.items())
    ]
    return Chart(title, caption, curves, levels, whole=True), [LAYER]


def histogram(found: Mapping[Any, int], *, about: str, what: str = "documents") -> Markup:
    """How many there are of each length: {the least length of a column, which ends at twice that: how many}."""
    edges = [int(edge) for edge in found]  # keys of JSON are text
    step, most, total = (WIDTH - LEFT) / len(edges), max(1, *found.values()), max(1, sum(found.values()))
    bars = []
    for i, (edge, count) in enumerate(zip(edges, found.values(), strict=True)):
        height = TALLEST * count / most
        bars.append((LEFT + i * step, BOTTOM - height, height, (edge, 2 * edge - 1, count), count / total))
    return kit("histogram", about, what, bars, step)
