"""Figures with their intervals as dots with bars: groups down the side, one dot for each that is compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from markupsafe import Markup

from bothways.html.curves import ticks
from bothways.html.page import kit, shortened

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 600, 190, 14, 6, 26
LINE, GAP, FAR = 13, 9, 8
LONGEST_NAME = 22  # letters of the name of a group that fit before the picture, as large as on a phone
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

    @property
    def span(self) -> str:
        """The ends of its interval, if it has one."""
        return f"({self.low:.3f} to {self.high:.3f})" if self.low < self.high else ""

    def __str__(self) -> str:
        return f"{self.value:.3f} {self.span}".rstrip()


def figure(
    title: str, caption: str, dots: Sequence[Dot], *, colours: Mapping[str, int], chance: float | None = None
) -> Markup:
    """All dots in one picture; the legend says each one's value in the first group. Where each dot is a group of its
    own, called as it is, each has a line under its name.

    colours  {name: its colour} of all on the page in order, so that each looks the same in every picture
    chance   where the dashed line stands
    """
    frame = IntervalFrame.around(dots, colours, chance)
    beyond = "" if all(map(frame.holds, dots)) else " Arrows: values beyond the edge."
    legend = [dot for dot in dots if frame.alone or dot.group == frame.groups[0]]
    return kit("intervals", title, f"{caption}{beyond}", legend, frame)


@dataclass(frozen=True, slots=True)
class IntervalFrame:
    """The drawing area: low..high across, a band for every group downwards, a line in it for every name."""

    dots: Sequence[Dot]
    names: Sequence[str]
    groups: Sequence[str]
    colours: Mapping[str, int]
    low: float
    high: float
    chance: float | None
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    width: int = WIDTH

    @classmethod
    def around(cls, dots: Sequence[Dot], colours: Mapping[str, int], chance: float | None) -> IntervalFrame:
        """A frame that holds all dots, their intervals and chance."""
        names, groups = ([*dict.fromkeys(each)] for each in zip(*((dot.name, dot.group) for dot in dots), strict=True))
        ends = [*_most([end for dot in dots for end in (dot.low, dot.value, dot.high)])]
        ends += [] if chance is None else [chance]
        high = max(ends) if max(ends) > min(ends) else min(ends) + 0.1
        return cls(dots, names, groups, colours, min(ends), high, chance)

    @property
    def alone(self) -> bool:
        """Whether every dot is a group of its own."""
        return all(dot.group == dot.name for dot in self.dots)

    @property
    def band(self) -> int:
        """The height of a group."""
        return LINE * (1 if self.alone else len(self.names)) + GAP

    @property
    def bottom(self) -> int:
        """Where the axis stands."""
        return TOP + self.band * len(self.groups)

    @property
    def height(self) -> int:
        """Of the whole picture."""
        return self.bottom + BOTTOM

    def holds(self, dot: Dot) -> bool:
        """Whether a value is within the edges."""
        return self.low <= dot.value <= self.high

    def x(self, value: float) -> float:
        """Where a value stands; at the edge, what is beyond it."""
        inside = min(max(value, self.low), self.high)
        return LEFT + (self.right - LEFT) * (inside - self.low) / (self.high - self.low)

    def y(self, dot: Dot) -> float:
        """Where a dot stands."""
        line = 0 if self.alone else self.names.index(dot.name)
        return TOP + self.band * self.groups.index(dot.group) + GAP / 2 + LINE * (line + 0.5)

    def bands(self) -> Iterator[tuple[int, str]]:
        """(top, group) of each; of a long name its beginning."""
        for place, group in enumerate(self.groups):
            yield TOP + self.band * place, shortened(group, LONGEST_NAME)

    def columns(self) -> Iterator[tuple[float, str]]:
        """(place, value) of the vertical grid lines."""
        return ((self.x(value), f"{value:.4g}") for value in ticks(self.low, self.high, 6))

    def colour(self, dot: Dot) -> int:
        """The number of a dot's colour."""
        return self.colours[dot.name]

    def shape(self, dot: Dot) -> tuple[str, str]:
        """Its sign in the legend, and its path around 0."""
        return SHAPES[list(self.colours).index(dot.name) % len(SHAPES)]

    def numbers(self) -> Iterator[Sequence[str | float]]:
        """What is drawn."""
        return ((dot.group, dot.name, dot.value, dot.low, dot.high) for dot in self.dots)


def _most(values: Sequence[float]) -> Sequence[float]:
    """The values without those far away, where with them the others would have less than a quarter of the width.

    Far is more than FAR median distances from the median.
    """
    middle = median(values)
    far = FAR * median(abs(value - middle) for value in values)
    near = [value for value in values if abs(value - middle) <= far]
    return near if far and 4 * (max(near) - min(near)) < max(values) - min(values) else values
