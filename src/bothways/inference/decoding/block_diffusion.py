"""Continues a text block by block, each block by unmasking: block diffusion (Arriola et al. 2025, section 3).

Known blocks are clean: each sees itself and those before it, and their keys and values are kept. The block that is
being generated is noisy: it sees the clean blocks before it and itself. Blocks are counted from [CLS].

Letters: B rows, T tokens, S block size, D width.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bothways.inference.decoding.sequence import RunningSequence
from bothways.inference.decoding.unmasking import MaskedRow, add_unmasked, reveal
from bothways.inference.engine import Engine
from bothways.visibility import Layout


class CleanBlocks:
    """Rows of clean blocks, read, to which blocks are added."""

    def __init__(self, engine: Engine, *, size: int, rows: int, capacity: int) -> None:
        self._engine, self._size = engine, size
        self._cache = engine.new_cache(rows=rows, capacity=capacity)

    def join(self, rows: Sequence[np.ndarray]) -> None:
        """Reads rows of whole blocks, or of none."""
        tokens, layout = self._engine.collate(rows, face="decoder")
        self._cache.take(len(rows))
        if tokens.shape[1]:
            layout = replace(layout, step=layout.position // self._size)
            self._engine.states(tokens, layout, cache=self._cache)

    def noisy(self, tokens: np.ndarray) -> Tensor:
        """The states [B, S, D] of the next block, some of whose tokens [B, S] are [MASK]."""
        lengths, layout = list(self._cache.lengths), self._next()
        states = self._read(tokens, replace(layout, group=torch.ones_like(layout.group)))
        self._cache.keep(lengths)
        return states

    def add(self, tokens: np.ndarray) -> None:
        """The next block [B, S] is clean now."""
        self._read(tokens, self._next())

    def select(self, rows: Sequence[int]) -> None:
        """Row i becomes what row `rows[i]` was."""
        self._cache.select(rows)

    def _next(self) -> Layout:
        layout = self._engine.behind(self._cache, self._size)  # [B, S]
        return replace(layout, step=layout.position // self._size)

    def _read(self, tokens: np.ndarray, layout: Layout) -> Tensor:
        return self._engine.states(torch.from_numpy(tokens).to(self._engine.device), layout, cache=self._cache)


class BlockDecoding:
    """Sequences that each get a block a step. Blocks are generated whole; what is too much is cut off."""

    def __init__(self, engine: Engine, sequences: Collection[RunningSequence], rows: int) -> None:
        self._engine = engine
        self._size = min(engine.abilities.decoding["blocks"], engine.model.config.length)
        self.room = engine.model.config.length // self._size * self._size - 1  # whole blocks only
        whole = -(-max(one.longest for one in sequences) // self._size) * self._size
        self._blocks = CleanBlocks(engine, size=self._size, rows=rows, capacity=min(self.room + 1, whole) + self._size)

    def join(self, sequences: Sequence[RunningSequence]) -> None:
        """Reads the whole blocks of new sequences."""
        rows = [one.row() for one in sequences]
        self._blocks.join([row[: len(row) - len(row) % self._size] for row in rows])

    @torch.inference_mode()
    def step(self, sequences: Sequence[RunningSequence]) -> None:
        """Adds to each what is left of a block."""
        rows = [one.row() for one in sequences]
        shown = [row[len(row) // self._size * self._size :] for row in rows]
        add_unmasked(self._engine, sequences, shown, [self._size - len(block) for block in shown], fill=self._fill)

    def _fill(self, engine: Engine, rows: Sequence[MaskedRow]) -> None:
        while any(len(row.places) for row in rows):
            reveal(engine, self._blocks.noisy(np.stack([row.tokens for row in rows])), rows)

    def advance(self, sequences: Sequence[RunningSequence], rows: Sequence[int]) -> None:
        """Those that stay read their newest block."""
        self._blocks.select(rows)
        if sequences:
            self._blocks.add(np.stack([one.row()[-self._size :] for one in sequences]))
