"""What methods of many texts take beside them, for type checkers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypedDict

from bothways.arguments import TextColumn
from bothways.inference.decoding.options import Order

Text = str | tuple[str, str]
Pairs = list[str] | list[tuple[str, str]] | Iterator[str] | Iterator[tuple[str, str]] | TextColumn


class Batching(TypedDict, total=False):
    """What every method of many texts takes.

    batch_size  how many texts are computed at once; None: as many as suit the device
    progress    True: a bar; or a function that is told (texts done, of how many)
    """

    batch_size: int | None
    progress: bool | Callable[[int, int], None]


class Infilling(Batching, total=False):
    """What `LanguageModel.infill` takes beside the texts; it says what they mean."""

    length: int | None
    longest: int
    steps: int | None
    temperature: float
    order: Order
    seed: int
