"""Rows that begin alike, read together from left to right: what they share is read once, a trunk with branches.

The sentences of a minimal pair, or the endings of one beginning, are rows of half the work: a state depends on what
stands before it only, so that of the trunk is the same for every branch.

Letters: R rows, F forks, T tokens, D width.
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
"""Tokens of a trunk with its branches, where there are several: attention is over all of them."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Some rows, by their numbers, and how many tokens all of them begin with."""

    rows: tuple[int, ...]
    trunk: int

    def places(self, rows: Sequence[np.ndarray], line: int = 0, length: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """(number of a row, the places of its tokens): those of the trunk, then its own branch; on a line of a batch
        [F, T], places of the flat batch."""
        first, start = line * length, self.trunk
        for number in self.rows:
            stop = start + len(rows[number]) - self.trunk
            yield number, first + np.concatenate([np.arange(self.trunk), np.arange(start, stop)])
            start = stop

    def size(self, rows: Sequence[np.ndarray]) -> int:
        return self.trunk + sum(len(rows[number]) - self.trunk for number in self.rows)


def forks(rows: Sequence[np.ndarray]) -> list[Fork]:
    """Every row in one fork: rows [T] in order of their tokens, neighbours together while that saves more."""
    order = sorted(range(len(rows)), key=lambda number: rows[number].tolist())
    alike = [*(_alike(rows[one], rows[other]) for one, other in pairwise(order)), 0]  # with the next one
    found: list[Fork] = []
    for place, number in enumerate(order):
        if found:
            last = found[-1]
            trunk = min(last.trunk, alike[place - 1])
            wider = Fork((*last.rows, number), trunk)
            saved = trunk * len(last.rows) - last.trunk * (len(last.rows) - 1)
            better_with_next = alike[place] > 2 * saved
            if saved > 0 and trunk > 1 and not better_with_next and wider.size(rows) <= LONGEST:
                found[-1] = wider
                continue
        found.append(Fork((number,), len(rows[number])))
    return found


def _alike(one: np.ndarray, other: np.ndarray) -> int:
    length = min(len(one), len(other))
    apart = np.flatnonzero(one[:length] != other[:length])
    return int(apart[0]) if len(apart) else length


@torch.inference_mode()
def read_forks(engine: Engine, rows: Sequence[np.ndarray]) -> Iterator[tuple[list[Fork], Tensor]]:
    """Batches of (forks, their states [F, T, D]), forks of like size together."""
    plain = (
        engine.model.rule is ordered
    )  # another rule may tell a trunk from a text, so every row is read alone under it
    found = forks(rows) if plain else [Fork((number,), len(row)) for number, row in enumerate(rows)]
    rule = forked if plain else engine.model.rule
    for batch in engine.batches([fork.size(rows) for fork in found]):
        some = [found[i] for i in batch]
        length = max(fork.size(rows) for fork in some)
        tokens, position, group = (np.zeros((len(some), length), dtype=np.int64) for _ in range(3))
        document = np.tile(-1 - np.arange(length), (len(some), 1))
        for line, fork in enumerate(some):
            for branch, (number, at) in enumerate(fork.places(rows), 1):
                tokens[line, at], position[line, at], document[line, at] = rows[number], np.arange(len(at)), 0
                group[line, at[fork.trunk :]] = branch
        layout = Layout.of(document=document, step=position, position=position, group=group)
        layout = layout.map(torch.from_numpy).to(engine.device)
        yield some, engine.states(torch.from_numpy(tokens).to(engine.device), layout, rule=rule)
