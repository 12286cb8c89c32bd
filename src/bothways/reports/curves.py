"""Curves over the course of a run, as inline SVG: nothing is fetched, and no script is needed to read them.

A chart is drawn once for each thing a run can be counted in (tokens, seconds, steps, operations); the page shows one
at a time. Sizes are in the units of the view box; a picture becomes as wide as the place it is put in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from statistics import median
from typing import Any, Literal

from bothways.reports.html import Markup, join, tag
from bothways.reports.record import number
from bothways.terminal import compact

WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 42
NAMES_GAP, NAMES_LETTER = 15, 7.6  # between names of levels; of a letter, as large as on a phone
MOST_POINTS, MOST_DOTS = 240, 40

Style = Literal["held-out", "training", "noise"]


@dataclass(frozen=True, slots=True)
class Axis:
    """What a run is counted in: the key in metrics.jsonl, the name on the switch, the words under the axis."""

    key: str
    name: str
    words: str

    def unit(self, furthest: float) -> tuple[float, str]:
        """What 1 on the axis is worth, and the words under it; time is told in the unit that suits it."""
        if self.key != "seconds":
            return 1.0, self.words
        units = ((3 * 3600.0, 3600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
        return next((worth, f"{unit} of training") for least, worth, unit in units if furthest >= least)


AXES = (
    Axis("tokens", "Tokens", "tokens read"),
    Axis("seconds", "Time", "seconds of training"),
    Axis("step", "Steps", "steps"),
    Axis("flops", "Operations", "floating-point operations"),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """One figure over a run: the lines of metrics it stands in, each with its value."""

    name: str
    points: Sequence[tuple[dict[str, Any], float]]
    style: Style = "held-out"
    colour: int = 0

    @classmethod
    def of(cls, name: str, lines: Sequence[dict[str, Any]], *keys: str) -> Curve:
        """The numbers that stand under these keys."""
        return cls(name, [(line, value) for line in lines if (value := number(line, *keys)) is not None])

    @property
    def median(self) -> float | None:
        """Of the values; None where there is none."""
        return median(value for _, value in self.points) if self.points else None

    def shown(self, whole: bool) -> Sequence[tuple[dict[str, Any], float]]:
        """The points that must fit in: without the steep beginning, which is the first, and the first twentieth."""
        return self.points if whole else self.points[max(len(self.points) // 20, int(len(self.points) > 3)) :]

    def smoothed(self) -> Curve:
        """Averages over the points on both sides: a fortieth of the run, less at its steep beginning."""
        sums = [0.0, *accumulate(value for _, value in self.points)]
        points = []
        for place, (line, _) in enumerate(self.points):
            reach = min(place // 8, len(self.points) // 40)
            low, high = place - reach, min(place + reach + 1, len(self.points))
            points.append((line, (sums[high] - sums[low]) / (high - low)))
        return replace(self, points=points)

    def thinned(self) -> Sequence[tuple[dict[str, Any], float]]:
        """As many points as a screen can show; the last is kept."""
        stride = math.ceil(len(self.points) / MOST_POINTS) or 1
        return [*self.points[:-1][::stride], *self.points[-1:]]

    def on(self, axis: Axis) -> list[tuple[float, float]]:
        """(place on the axis, value) of the points shown."""
        return [(at, value) for line, value in self.thinned() if (at := number(line, axis.key)) is not None]


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves that share a picture, and levels (name, value): horizontal lines to compare with.

    curves      as the legend lists them; the first is drawn above the others
    percent     values are shares of 1, and the axis begins at 0
    from_zero   the axis begins at 0
    whole       the beginning is no steep one: all of it is shown
    typical     the legend tells the median, not what a curve ends at
    """

    title: str
    caption: str
    curves: Sequence[Curve]
    levels: Sequence[tuple[str, float]] = ()
    percent: bool = False
    from_zero: bool = False
    whole: bool = False
    typical: bool = False

    def told(self, curve: Curve) -> str:
        """What the legend says of a curve that has points."""
        typical = curve.median if self.typical else None
        return self.value(curve.points[-1][1]) if typical is None else f"{self.value(typical)} (median)"

    def value(self, value: float) -> str:
        """A value in the words of this chart."""
        if self.percent:
            return f"{value:.1%}"
        return compact(value) if abs(value) >= 100 else f"{value:.3f}" if abs(value) >= 0.1 else f"{value:.2g}"

    def bounds(self) -> tuple[float, float]:
        """The lowest and highest value shown, never below zero if no value is; a steep beginning runs off the top."""
        values = [value for curve in self.curves if curve.style != "noise" for _, value in curve.shown(self.whole)]
        values += [value for _, value in self.levels]
        low, high = min(values), max(values)
        room = 0.07 * (high - low) or 0.1 * abs(high) or 0.1
        below = low - room if low < 0 else max(low - room, 0.0)
        return (0.0 if self.percent or self.from_zero else below), high + room

    def numbers(self, axes: Sequence[Axis]) -> Iterator[Sequence[str | float]]:
        """What is drawn: the curve, its place on every axis, its value; of a level the place is empty."""
        for curve in self.curves:
            name = f"{curve.name} (each)" if curve.style == "noise" else curve.name
            for line, value in curve.thinned():
                yield name, *(number(line, axis.key) or 0.0 for axis in axes), value
        for name, value in self.levels:
            yield name, *("" for _ in axes), value

    def draw(self, axis: Axis, name: str) -> Markup:
        """The picture over one axis, as an svg element; empty when nothing can be counted so. `name` is its own."""
        drawn = [(curve, points) for curve in self.curves if (points := curve.on(axis))]
        if not drawn:
            return Markup()
        longest = max((len(name) for name, _ in self.levels), default=0)
        beside = round(NAMES_LETTER * longest) + 8 if self.levels else RIGHT
        frame = _CurveFrame(max(at for _, points in drawn for at, _ in points) or 1.0, *self.bounds(), beside)
        worth, words = axis.unit(frame.right)
        clip = tag(
            "clipPath", tag("rect", x=LEFT - 3, y=TOP - 3, width=frame.width + 6, height=frame.height + 6), id=name
        )
        return tag(
            "svg",
            tag("defs", clip),
            *frame.rows(self.percent),
            *frame.columns(worth, words),
            *frame.levels(self.levels),
            tag("g", *(frame.curve(*pair) for pair in reversed(drawn)), clip_path=f"url(#{name})"),
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            role="img",
            aria_label=f"{self.title}, over {words}",
            class_=f"on-{axis.key}",
            data_frame=f"{LEFT} {TOP} {frame.width} {frame.height}",
            data_range=f"{frame.right / worth:.8g} {frame.low:.8g} {frame.high:.8g}",
            data_words=words,
            data_percent=self.percent,
        )


@dataclass(frozen=True, slots=True)
class _CurveFrame:
    """The drawing area of a picture: 0..right across, low..high upwards, and room `beside` it for names of levels."""

    right: float
    low: float
    high: float
    beside: int

    @property
    def width(self) -> int:
        return WIDTH - LEFT - self.beside

    @property
    def height(self) -> int:
        return HEIGHT - TOP - BOTTOM

    def x(self, at: float) -> float:
        return LEFT + self.width * at / self.right

    def y(self, value: float) -> float:
        return TOP + self.height * (self.high - value) / (self.high - self.low)

    def rows(self, percent: bool) -> Iterator[Markup]:
        """Horizontal grid lines with their values."""
        values = ticks(self.low, self.high, 6)
        texts = [f"{100 * value:.3g}%" if percent else _short(value) for value in values]
        if len(set(texts)) < len(texts):  # a loss that hardly moves
            texts = [f"{100 * value:.6g}%" if percent else f"{value:.6g}" for value in values]
        for value, text in zip(values, texts, strict=True):
            y = self.y(value)
            yield tag("line", x1=LEFT, x2=LEFT + self.width, y1=y, y2=y, class_="grid")
            yield tag("text", text, x=LEFT - 7, y=y + 4, class_="end")

    def columns(self, worth: float, words: str) -> Iterator[Markup]:
        """Marks along the bottom with their values, and what they count."""
        bottom = TOP + self.height
        for value in ticks(0.0, self.right / worth, 5):
            if worth == 1 and value != round(value):  # nothing that is counted has halves
                continue
            x = self.x(value * worth)
            yield tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="mark")
            yield tag("text", compact(value), x=x, y=bottom + 18, class_="middle")
        yield tag("line", x1=LEFT, x2=LEFT + self.width, y1=bottom, y2=bottom, class_="mark")
        yield tag("text", words, x=LEFT + self.width / 2, y=bottom + 36, class_="middle words")

    def levels(self, levels: Sequence[tuple[str, float]]) -> Iterator[Markup]:
        """Dashed lines, with their names beside them, moved apart where they would meet."""
        last = float(TOP - NAMES_GAP)
        for name, value in sorted(levels, key=lambda level: -level[1]):
            y = self.y(value)
            last = max(y, last + NAMES_GAP)
            yield tag("line", x1=LEFT, x2=LEFT + self.width, y1=y, y2=y, class_="level")
            yield tag("text", name, x=LEFT + self.width + 6, y=last + 4, class_="level-name")

    def curve(self, curve: Curve, points: Sequence[tuple[float, float]]) -> Markup:
        """A curve; held-out figures are few enough to show where each was taken."""
        placed = [(self.x(at), self.y(value)) for at, value in points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        named = curve.name if curve.style != "noise" else None
        line = tag("path", d=path, class_=f"{curve.style} colour-{curve.colour}", data_name=named)
        if len(placed) > (MOST_DOTS if curve.style == "held-out" else 1):
            return line
        dots = (
            tag("circle", cx=round(x, 1), cy=round(y, 1), r=2.6, class_=f"colour-{curve.colour}") for x, y in placed
        )
        return join(line, *dots)


def _short(value: float) -> str:
    """A round number in little space: 2.5, 20k, 1.5e-3."""
    if value == 0 or abs(value) >= 0.01:
        return compact(value)
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most about `most` round numbers from low to high: steps of 1, 2 or 5 times a power of ten."""
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]
