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
from bothways.inference.decoding.unmasking import HiddenRow, reveal
from bothways.inference.engine import Engine
from bothways.model import Cache
from bothways.visibility import Layout


class CleanBlocks:
    """Rows of clean blocks, read, to which blocks are added."""

    def __init__(self, engine: Engine, *, size: int, rows: int, capacity: int) -> None:
        self._engine, self._size = engine, size
        self._cache = Cache(engine.model.config, rows=rows, capacity=capacity, like=engine.model.table)

    def join(self, rows: Sequence[np.ndarray]) -> None:
        """Reads rows of whole blocks, or of none."""
        tokens, layout = self._engine.lay(rows, face="decoder")
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
        device = self._engine.device
        known = torch.tensor(self._cache.lengths, dtype=torch.int32, device=device)[:, None]
        position = known + torch.arange(self._size, dtype=torch.int32, device=device)  # [B, S]
        zeros = torch.zeros_like(position)
        return Layout(
            document=zeros,
            step=position // self._size,
            group=zeros,
            position=position,
            hidden=zeros.bool(),
            segment=zeros,
        )

    def _read(self, tokens: np.ndarray, layout: Layout) -> Tensor:
        return self._engine.states(torch.from_numpy(tokens).to(self._engine.device), layout, cache=self._cache)


class BlockDecoding:
    """Sequences that each get a block a step. Blocks are generated whole; what is too much is cut off."""

    def __init__(self, engine: Engine, sequences: Collection[RunningSequence], rows: int) -> None:
        self._engine = engine
        self._size = min(engine.trained.decoding["blocks"], engine.model.config.length)
        self.room = engine.model.config.length // self._size * self._size - 1  # whole blocks only
        whole = -(-max(one.longest for one in sequences) // self._size) * self._size
        self._blocks = CleanBlocks(engine, size=self._size, rows=rows, capacity=min(self.room + 1, whole) + self._size)

    def join(self, sequences: Sequence[RunningSequence]) -> None:
        """Reads the whole blocks of new sequences."""
        for one in sequences:
            one.forget(self.room)
        rows = [one.row() for one in sequences]
        self._blocks.join([row[: len(row) - len(row) % self._size] for row in rows])

    @torch.inference_mode()
    def step(self, sequences: Sequence[RunningSequence]) -> None:
        """Adds to each what is left of a block."""
        mask, hidden = self._engine.tokenizer.vocabulary.mask, []
        counts = [self._size - len(one.row()) % self._size for one in sequences]
        for one, count in zip(sequences, counts, strict=True):
            block = np.append(one.row(), np.full(count, mask))[-self._size :]
            unmasking = one.options.unmasking(count)
            hidden.append(HiddenRow(block, mask=mask, random=one.random, unmasking=unmasking))
        while any(len(row.places) for row in hidden):
            reveal(self._engine, self._blocks.noisy(np.stack([row.tokens for row in hidden])), hidden)
        for one, row, count in zip(sequences, hidden, counts, strict=True):
            for token, nats in zip(row.tokens[-count:].tolist(), row.nats[-count:].tolist(), strict=True):
                one.add(token, nats)

    def go_on(self, sequences: Sequence[RunningSequence], rows: Sequence[int]) -> None:
        """Those that stay read their newest block."""
        self._blocks.select(rows)
        if sequences:
            self._blocks.add(np.stack([one.row()[-self._size :] for one in sequences]))
