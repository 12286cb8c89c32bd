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

from bothways.terminal import compact

WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 42
NAMES_GAP, NAMES_LETTER = 15, 7.6  # between names of levels; of a letter, as large as on a phone
MOST_POINTS, MOST_DOTS = 240, 40

Style = Literal["held-out", "training", "noise"]


def part(line: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The object under these keys of a JSON object; empty when there is none."""
    for key in keys:
        found = line.get(key)
        line = found if isinstance(found, dict) else {}
    return line


def number(line: dict[str, Any], *keys: str) -> float | None:
    """The finite number under these keys of a JSON object; None when there is none."""
    value = part(line, *keys[:-1]).get(keys[-1])
    return value if isinstance(value, int | float) and math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Axis:
    """What a run is counted in: the key in metrics.jsonl, the name on the switch, the words under the axis."""

    key: str
    name: str
    words: str

    def unit(self, furthest: float) -> tuple[float, str]:
        """What 1 on the axis is worth, and the words under it; time in the unit that suits it."""
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
    typical     the legend shows the median, not what a curve ends at
    names       the legend shows names alone
    """

    title: str
    caption: str
    curves: Sequence[Curve]
    levels: Sequence[tuple[str, float]] = ()
    percent: bool = False
    from_zero: bool = False
    whole: bool = False
    typical: bool = False
    names: bool = False

    @property
    def points(self) -> bool:
        """Whether there is anything to draw."""
        return any(curve.points for curve in self.curves)

    def summary(self, curve: Curve) -> str:
        """What the legend shows of a curve that has points."""
        if self.names:
            return ""
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

    def columns(self, axes: Sequence[Axis]) -> Sequence[str]:
        """The names of what `numbers` lists."""
        return ("curve", *(axis.key for axis in axes), "value")

    def numbers(self, axes: Sequence[Axis]) -> Iterator[Sequence[str | float]]:
        """What is drawn: the curve, its place on every axis, its value; of a level the place is empty."""
        for curve in self.curves:
            name = f"{curve.name} (each)" if curve.style == "noise" else curve.name
            for line, value in curve.thinned():
                yield name, *(number(line, axis.key) or 0.0 for axis in axes), value
        for name, value in self.levels:
            yield name, *("" for _ in axes), value

    def frame(self, axis: Axis) -> CurveFrame | None:
        """The picture over one axis; None when nothing can be counted so."""
        drawn = [(curve, points) for curve in self.curves if (points := curve.on(axis))]
        if not drawn:
            return None
        longest = max((len(name) for name, _ in self.levels), default=0)
        beside = round(NAMES_LETTER * longest) + 8 if self.levels else RIGHT
        furthest = max(at for _, points in drawn for at, _ in points) or 1.0
        return CurveFrame(axis, drawn, furthest, *self.bounds(), beside)


@dataclass(frozen=True, slots=True)
class CurveFrame:
    """The drawing area of a picture: 0..right across, low..high upwards, and room `beside` it for names of levels."""

    axis: Axis
    drawn: Sequence[tuple[Curve, Sequence[tuple[float, float]]]]
    right: float
    low: float
    high: float
    beside: int
    left: int = LEFT
    top: int = TOP
    height: int = HEIGHT - TOP - BOTTOM
    box: str = f"0 0 {WIDTH} {HEIGHT}"

    @property
    def unit(self) -> tuple[float, str]:
        """What 1 on the axis is worth, and the words under it."""
        return self.axis.unit(self.right)

    @property
    def width(self) -> int:
        """Of the plot, in units of the picture."""
        return WIDTH - LEFT - self.beside

    def x(self, at: float) -> float:
        """Where a value of the horizontal axis stands."""
        return LEFT + self.width * at / self.right

    def y(self, value: float) -> float:
        """Where a value of the vertical axis stands."""
        return TOP + self.height * (self.high - value) / (self.high - self.low)

    def rows(self, percent: bool) -> Iterator[tuple[float, str]]:
        """(height, value) of the horizontal grid lines."""
        values = ticks(self.low, self.high, 6)
        texts = [f"{100 * value:.3g}%" if percent else _short(value) for value in values]
        if len(set(texts)) < len(texts):  # a loss that hardly moves
            texts = [f"{100 * value:.6g}%" if percent else f"{value:.6g}" for value in values]
        return ((self.y(value), text) for value, text in zip(values, texts, strict=True))

    def columns(self) -> Iterator[tuple[float, str]]:
        """(place, value) of the marks along the bottom; nothing that is counted has halves."""
        worth, _ = self.unit
        values = ticks(0.0, self.right / worth, 5)
        return ((self.x(value * worth), compact(value)) for value in values if worth != 1 or value == round(value))

    def levels(self, levels: Sequence[tuple[str, float]]) -> Iterator[tuple[float, float, str]]:
        """(height, height of the name, name) of dashed lines, the names moved apart where they would meet."""
        last = float(TOP - NAMES_GAP)
        for name, value in sorted(levels, key=lambda level: -level[1]):
            last = max(self.y(value), last + NAMES_GAP)
            yield self.y(value), last, name

    def lines(self) -> Iterator[tuple[Curve, str, Sequence[tuple[float, float]]]]:
        """(curve, its path, its dots), the first above the others; few held-out figures show where each was taken."""
        for curve, points in reversed(self.drawn):
            placed = [(round(self.x(at), 1), round(self.y(value), 1)) for at, value in points]
            few = len(placed) <= (MOST_DOTS if curve.style == "held-out" else 1)
            yield curve, "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed), placed if few else ()


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
