"""Rows that begin alike, read together from left to right: what they share is read once, a prefix with branches.

The sentences of a minimal pair, or the endings of one beginning, are rows of half the work: a state depends on what
stands before it only, so that of the prefix is the same for every branch.

Letters: R rows, F prefixes with their branches, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from bothways.inference.engine import Engine
from bothways.visibility import Layout, forked, ordered

LONGEST = 256
"""Tokens of a prefix with its branches, where there are several: attention is over all of them."""


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """Some rows, by their numbers, and how many tokens all of them begin with."""

    rows: tuple[int, ...]
    prefix: int

    def places(self, rows: Sequence[np.ndarray], line: int = 0, length: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """(number of a row, the places of its tokens): those of the prefix, then its own branch; on a line of a batch
        [F, T], places of the flat batch."""
        first, start = line * length, self.prefix
        for number in self.rows:
            stop = start + len(rows[number]) - self.prefix
            yield number, first + np.concatenate([np.arange(self.prefix), np.arange(start, stop)])
            start = stop

    def size(self, rows: Sequence[np.ndarray]) -> int:
        """Its tokens, the prefix counted once."""
        return self.prefix + sum(len(rows[number]) - self.prefix for number in self.rows)


def share_prefixes(rows: Sequence[np.ndarray]) -> list[SharedPrefix]:
    """Every row behind one prefix: rows [T] in order of their tokens, neighbours together while that saves more."""
    order = sorted(range(len(rows)), key=lambda number: rows[number].tolist())
    alike = [*(_alike(rows[one], rows[other]) for one, other in pairwise(order)), 0]  # with the next one
    found: list[SharedPrefix] = []
    for place, number in enumerate(order):
        if found:
            last = found[-1]
            prefix = min(last.prefix, alike[place - 1])
            wider = SharedPrefix((*last.rows, number), prefix)
            saved = prefix * len(last.rows) - last.prefix * (len(last.rows) - 1)
            better_with_next = alike[place] > 2 * saved
            if saved > 0 and prefix > 1 and not better_with_next and wider.size(rows) <= LONGEST:
                found[-1] = wider
                continue
        found.append(SharedPrefix((number,), len(rows[number])))
    return found


def _alike(one: np.ndarray, other: np.ndarray) -> int:
    length = min(len(one), len(other))
    return int(np.cumprod(one[:length] == other[:length]).sum())


@torch.inference_mode()
def read_shared(engine: Engine, rows: Sequence[np.ndarray]) -> Iterator[tuple[list[SharedPrefix], Tensor]]:
    """Batches of (prefixes with their branches, their states [F, T, D]), those of like size together."""
    # Another rule may tell a prefix from a text, so every row is read alone under it.
    plain = engine.model.rule is ordered
    found = share_prefixes(rows) if plain else [SharedPrefix((number,), len(row)) for number, row in enumerate(rows)]
    rule = forked if plain else engine.model.rule
    for batch in engine.passes([shared.size(rows) for shared in found]):
        some = [found[i] for i in batch]
        length = max(shared.size(rows) for shared in some)
        tokens, position, group = (np.zeros((len(some), length), dtype=np.int64) for _ in range(3))
        document = np.tile(-1 - np.arange(length), (len(some), 1))
        for line, shared in enumerate(some):
            for branch, (number, at) in enumerate(shared.places(rows), 1):
                tokens[line, at], position[line, at], document[line, at] = rows[number], np.arange(len(at)), 0
                group[line, at[shared.prefix :]] = branch
        layout = Layout.of(document=document, step=position, position=position, group=group)
        layout = layout.map(torch.from_numpy).to(engine.device)
        yield some, engine.states(torch.from_numpy(tokens).to(engine.device), layout, rule=rule)
