"""An objective as a page: what is read, who sees whom, and what is predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bothways.html import page, svg
from bothways.objectives.show import Picture, about, columns, pictures
from bothways.terminal import wide

CELL, SIZE, LETTER = 26, 29, 7.4  # a square, one with the gap beside it, a letter of text
KINDS = {
    "before": "sees what comes before it",
    "itself": "itself",
    "after": "what comes after it",
    "scaffold": "scaffolding behind the text",
}
SIGNS = {"before": "◂", "itself": "•", "after": "▸", "scaffold": "+"}
"""In the cells, for those who do not tell the colours apart."""


def visibility_page(expression: str, texts: Sequence[str], *, seed: int = 0, progress: float = 0.0) -> str:
    """One HTML file: a picture for each kind of row that the objective draws.

    Raises:
        UsageError: as `pictures`.
    """
    summary, *rest = about(expression)
    return page(
        "visibility.html",
        expression=expression,
        summary=summary.partition(": ")[2].capitalize() + ".",
        about=rest,
        frames=[VisibilityFrame.around(one) for one in pictures(expression, texts, seed=seed, progress=progress)],
    )


def picture_file(expression: str, text: str, *, seed: int = 0) -> str:
    """The first picture of an objective as an SVG file, light or dark as its reader is.

    Raises:
        UsageError: as `pictures`.
    """
    (picture, *_) = pictures(expression, [text], seed=seed)
    return f"{svg('visibility.svg', 'picture', VisibilityFrame.around(picture))}\n"


@dataclass(frozen=True, slots=True)
class VisibilityFrame:
    """The drawing area: lines are the positions that attend, columns those that are attended to.

    left    what stands before the cells: (name, its place, a text for every line)
    start   where the cells begin; `top` above them
    """

    picture: Picture
    left: Sequence[tuple[str, float, Sequence[str]]]
    start: float
    top: float
    width: int
    height: int

    @classmethod
    def around(cls, picture: Picture) -> VisibilityFrame:
        """A frame that holds a picture."""
        left, start = [], 0.0
        for name, cells in columns(picture).items():
            left.append((name, start, cells))
            start += max(map(wide, (name, *cells))) * LETTER + 16
        count = len(picture.reads)
        top = max(map(wide, picture.reads)) * LETTER + 22
        beside = max(map(wide, picture.predicts), default=0) * LETTER
        width, height = start + count * SIZE + 14 + max(beside, 40), top + count * SIZE
        return cls(picture, left, start, top, round(width), round(height))

    def lines(self) -> Iterator[tuple[float, str, Sequence[tuple[float, str, str]], Sequence[tuple[float, str]], str]]:
        """(height, what it sees and predicts, its cells, the texts before them, what it predicts) of every position.

        A cell is (place, kind, sign), a text (place, text).
        """
        reads, predicts = self.picture.reads, self.picture.predicts
        for i, word in enumerate(reads):
            kinds = [kind_of(self.picture, i, j) for j in range(len(reads))]
            seen = " ".join(other for other, kind in zip(reads, kinds, strict=True) if kind)
            title = f"{word} sees {seen or 'nothing'}" + (f", predicts {predicts[i]}" if predicts[i] else "")
            cells = [(self.start + j * SIZE, kind or "hides", SIGNS.get(kind, "")) for j, kind in enumerate(kinds)]
            yield self.top + i * SIZE, title, cells, [(x, texts[i]) for _, x, texts in self.left], predicts[i]

    def heads(self) -> Iterator[tuple[float, str]]:
        """(place, word) of those that are attended to."""
        return ((self.start + j * SIZE + CELL / 2 + 4, word) for j, word in enumerate(self.picture.reads))

    @property
    def end(self) -> float:
        """Where the cells end."""
        return self.start + len(self.picture.reads) * SIZE + 10

    def legend(self) -> list[tuple[str, str, str]]:
        """(kind, sign, in words) of the kinds there are in the picture."""
        count = range(len(self.picture.reads))
        used = {kind_of(self.picture, i, j) for i in count for j in count}
        return [(kind, SIGNS[kind], words) for kind, words in KINDS.items() if kind in used]

    def columns(self) -> Sequence[str]:
        """The names of what `numbers` lists."""
        return ("reads", *self.picture.reads, "predicts")

    def numbers(self) -> Iterator[Sequence[str | int]]:
        """A line for every position: what is read there, 1 for whom it sees, what it predicts."""
        rows = zip(self.picture.reads, self.picture.sees, self.picture.predicts, strict=True)
        return ((read, *map(int, sees), predicts) for read, sees, predicts in rows)


def matrix(picture: Picture) -> Markup:
    """A picture as svg element."""
    return svg("visibility.svg", "matrix", VisibilityFrame.around(picture))


def kind_of(picture: Picture, i: int, j: int) -> str:
    """How place i sees place j: one of KINDS, or "" if it does not."""
    if not picture.sees[i, j]:
        return ""
    if i == j:
        return "itself"
    if picture.sample.layout.group[j]:
        return "scaffold"
    here, there = (picture.sample.layout.position[place] for place in (i, j))
    return "before" if there <= here else "after"
