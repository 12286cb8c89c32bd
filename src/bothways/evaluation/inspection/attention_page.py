"""Attention on one page: a square a head, weights under the pointer, what each head does over many texts."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bothways.evaluation.inspection.attention import AttentionMaps, Heads
from bothways.html import TableRow, page, shortened, token_name, visible
from bothways.html.curves import ticks
from bothways.terminal import wide

LEVELS = 8  # of shades


class Square(NamedTuple):
    """Its side and what stands before it and above it, in the units of its view box."""

    side: int
    left: int
    top: int


NUMBERED = Square(160, 34, 28)
NAMED, BESIDE, LETTER = 240, 22, 6.2  # the side, what stands beside names, and the width of a letter of them
MOST_NAMED, LONGEST_NAME = 24, 10  # tokens whose names stand along a square, and their letters; wide ones count twice


def render(name: str, seen: Sequence[AttentionMaps], many: Sequence[Heads] = ()) -> str:
    """The whole page as HTML: a text in each direction that it is read in, and what heads do over many texts, alike."""
    return page(
        "attention.html",
        name=name,
        shades=[(level / LEVELS, (level / LEVELS) ** 2) for level in range(1, LEVELS + 1)],
        maps=[_map(one, many[place : place + 1]) for place, one in enumerate(seen)],
        columns=["", *COLUMNS.values()],
    )


def _map(seen: AttentionMaps, many: Sequence[Heads]) -> dict[str, Any]:
    """A text as it was read: its tokens, every head of every layer, and a table of what heads do over many texts."""
    layers, count = seen.weights.shape[:2]
    tokens = [visible(token_name(token)) for token in seen.tokens]
    named = len(tokens) <= MOST_NAMED
    names = [shortened(token, LONGEST_NAME) for token in tokens]
    room = BESIDE + round(LETTER * max(map(wide, names)))
    square = Square(NAMED, room, room) if named else NUMBERED
    return {
        "named": named,
        "square": square,
        "direction": "from all sides" if seen.reads == "all sides" else seen.reads,
        "note": seen.note,
        "tokens": tokens,
        "layers": [[_head(seen, layer, head, square) for head in range(count)] for layer in range(layers)],
        "marks": [*(_beside(names) if named else _marks(len(tokens)))],
        "tables": [_table(heads) for heads in many],
    }


def _head(seen: AttentionMaps, layer: int, head: int, square: Square) -> dict[str, Any]:
    weights = seen.weights[layer, head]
    return {
        "habit": _habit(seen.heads, layer, head),
        "levels": _levels(weights, square),
        "weights": b64encode(np.rint(65535 * weights).astype(">u2").tobytes()).decode(),
    }


def _marks(count: int) -> Iterator[tuple[float, str]]:
    """(place, number) of some tokens, along a square."""
    for number in ticks(1, max(2, count), 5):
        if number == round(number) and number <= count:
            yield NUMBERED.side * (number - 0.5) / count, f"{number:g}"


def _beside(names: Sequence[str]) -> Iterator[tuple[float, str]]:
    """(place, name) of every token, along a square."""
    return ((NAMED * (place + 0.5) / len(names), name) for place, name in enumerate(names))


def _levels(weights: np.ndarray, square: Square) -> list[tuple[float, str]]:
    """(opacity, path) of every level of darkness: a page of 144 heads stays small."""
    level, side = np.rint(LEVELS * np.sqrt(weights)).astype(int), square.side / len(weights)
    found = []
    for value in range(1, LEVELS + 1):
        cells = "".join(
            f"M{square.left + x * side:.2f} {square.top + y * side:.2f}h{side:.2f}v{side:.2f}h-{side:.2f}z"
            for y, x in np.argwhere(level == value)
        )
        if cells:
            found.append((value / LEVELS, cells))
    return found


COLUMNS = {
    "distance": "places away",
    "entropy": "entropy, bits",
    "itself": "to itself",
    "before": "to the one before",
    "after": "to the one after",
    "separator": "to special tokens",
}
SHARES = {"itself": "itself", "before": "one before", "after": "one after", "separator": "special tokens"}


def _habit(heads: Heads, layer: int, head: int) -> str:
    """What takes more than half of a head's attention; else how far it looks."""
    shares = {name: float(getattr(heads, key)[layer, head]) for key, name in SHARES.items()}
    name, share = max(shares.items(), key=lambda one: one[1])
    return f"{name} {share:.0%}" if share > 0.5 else f"{heads.distance[layer, head]:.1f} places away"


def _table(heads: Heads) -> list[TableRow]:
    columns = [getattr(heads, name) for name in COLUMNS]
    return [
        TableRow(f"layer {layer + 1}, head {head + 1}", [f"{column[layer, head]:.2f}" for column in columns])
        for layer, head in np.ndindex(columns[0].shape)
    ]
