"""Figures with their intervals as dots with bars: groups down the side, one dot for each that is compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from bothways.reports.charts import COLOURS
from bothways.reports.curves import ticks
from bothways.reports.downloads import downloads
from bothways.reports.html import Markup, tag

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 600, 190, 14, 6, 26
LINE, GAP, FAR = 13, 9, 8
SHAPES = (
    ("●", "M-3.8 0A3.8 3.8 0 1 0 3.8 0A3.8 3.8 0 1 0-3.8 0Z"),
    ("■", "M-3.4-3.4H3.4V3.4H-3.4Z"),
    ("◆", "M0-4.8L4.8 0L0 4.8L-4.8 0Z"),
    ("▲", "M0-4.4L4.4 3.6H-4.4Z"),
    ("▼", "M0 4.4L4.4-3.6H-4.4Z"),
)
"""In the legend and, around 0, in the picture: dots are told apart without colours too."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A value and the ends of its interval."""

    group: str
    name: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def figure(
    title: str, caption: str, dots: Sequence[Dot], *, colours: Sequence[str], chance: float | None = None
) -> Markup:
    """All dots in one picture; the legend says each one's value in the first group.

    colours  all names of the page in order, so that each looks the same in every picture
    chance   where the dashed line stands
    """
    names, groups = (list(dict.fromkeys(each)) for each in zip(*((dot.name, dot.group) for dot in dots), strict=True))
    legend = (
        tag(
            "li",
            _glyph(colours.index(dot.name)),
            f"{dot.name} ",
            tag("b", f"{dot.value:.3f}"),
            f" ({dot.low:.3f} to {dot.high:.3f})",
        )
        for dot in dots
        if dot.group == groups[0]
    )
    rows = ((dot.group, dot.name, dot.value, dot.low, dot.high) for dot in dots)
    frame = _IntervalFrame.around(dots, names, groups, colours, chance)
    beyond = "" if all(map(frame.holds, dots)) else " Arrows: values beyond the edge."
    return tag(
        "figure",
        tag("ul", *legend, class_="legend"),
        frame.draw(title, dots, chance),
        tag("figcaption", f"{caption}{beyond}"),
        downloads(title, ("group", "name", "value", "low", "high"), rows),
        class_="card",
    )


def _glyph(place: int) -> Markup:
    return tag("i", SHAPES[place % len(SHAPES)][0], class_=f"dot colour-{place % COLOURS}")


@dataclass(frozen=True, slots=True)
class _IntervalFrame:
    """The drawing area: low..high across, a band for every group downwards, a line in it for every name."""

    names: Sequence[str]
    groups: Sequence[str]
    colours: Sequence[str]
    low: float
    high: float

    @classmethod
    def around(
        cls,
        dots: Sequence[Dot],
        names: Sequence[str],
        groups: Sequence[str],
        colours: Sequence[str],
        chance: float | None,
    ) -> _IntervalFrame:
        shown = _most([end for dot in dots for end in (dot.low, dot.value, dot.high)])
        ends = [*shown, *([] if chance is None else [chance])]
        return cls(names, groups, colours, min(ends), max(ends) if max(ends) > min(ends) else min(ends) + 0.1)

    @property
    def band(self) -> int:
        return LINE * len(self.names) + GAP

    @property
    def bottom(self) -> int:
        return TOP + self.band * len(self.groups)

    def holds(self, dot: Dot) -> bool:
        """Whether a value is within the edges."""
        return self.low <= dot.value <= self.high

    def x(self, value: float) -> float:
        """Where a value stands; at the edge, what is beyond it."""
        inside = min(max(value, self.low), self.high)
        return LEFT + (WIDTH - LEFT - RIGHT) * (inside - self.low) / (self.high - self.low)

    def y(self, dot: Dot) -> float:
        return TOP + self.band * self.groups.index(dot.group) + GAP / 2 + LINE * (self.names.index(dot.name) + 0.5)

    def draw(self, title: str, dots: Sequence[Dot], chance: float | None) -> Markup:
        at = self.x(chance) if chance is not None else None
        dashed = tag("line", x1=at, x2=at, y1=TOP, y2=self.bottom, class_="level") if at is not None else Markup()
        return tag(
            "svg",
            *self.bands(),
            *self.columns(),
            dashed,
            *map(self.dot, dots),
            viewBox=f"0 0 {WIDTH} {self.bottom + BOTTOM}",
            role="img",
            aria_label=title,
            class_="dots",
        )

    def bands(self) -> Iterator[Markup]:
        for place, group in enumerate(self.groups):
            top = TOP + self.band * place
            yield tag("line", x1=0, x2=WIDTH, y1=top, y2=top, class_="grid")
            yield tag("text", group, x=LEFT - 10, y=top + self.band / 2 + 4, class_="end")

    def columns(self) -> Iterator[Markup]:
        for value in ticks(self.low, self.high, 6):
            x = self.x(value)
            yield tag("line", x1=x, x2=x, y1=TOP, y2=self.bottom, class_="grid")
            yield tag("text", f"{value:.4g}", x=x, y=self.bottom + 18, class_="middle")
        yield tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=self.bottom, y2=self.bottom, class_="mark")

    def dot(self, dot: Dot) -> Markup:
        """The interval, the mark, and both in words under the pointer; of a value beyond the edge an arrow and it."""
        place, x, y = self.colours.index(dot.name), self.x(dot.value), self.y(dot)
        if self.holds(dot):
            parts = [
                tag("path", d=f"M{self.x(dot.low):.1f} {y:.1f}H{self.x(dot.high):.1f}"),
                tag("path", d=SHAPES[place % len(SHAPES)][1], transform=f"translate({x:.1f} {y:.1f})", class_="whole"),
            ]
        else:
            right = dot.value > self.high
            said = f"{dot.value:.3f} →" if right else f"← {dot.value:.3f}"
            parts = [tag("text", said, x=x, y=y + 4, class_="end" if right else None)]
        title = tag("title", f"{dot.group}, {dot.name}: {dot}")
        return tag("g", title, *parts, class_=f"colour-{place % COLOURS}")


def _most(values: Sequence[float]) -> Sequence[float]:
    """The values without those far away, where with them the others would have less than a quarter of the width.

    Far is more than FAR median distances from the median.
    """
    middle = median(values)
    far = FAR * median(abs(value - middle) for value in values)
    near = [value for value in values if abs(value - middle) <= far]
    return near if far and 4 * (max(near) - min(near)) < max(values) - min(values) else values
