"""Continues a text block by block, each block by unmasking: block diffusion (Arriola et al. 2025, section 3).

Known blocks are clean: each sees itself and those before it, and their keys and values are kept. The block that is
being written is noisy: it sees the clean blocks before it and itself. Blocks are counted from [CLS].

Letters: B rows, T tokens, S block size, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bothways.inference.decoding.options import GenerationOptions, GrowingText
from bothways.inference.decoding.unmasking import HiddenRow, say
from bothways.inference.engine import Engine
from bothways.model import Cache
from bothways.visibility import Layout


class CleanBlocks:
    """Rows of clean blocks, read, to which blocks are added."""

    @torch.inference_mode()
    def __init__(self, engine: Engine, rows: Sequence[np.ndarray], *, size: int, rounds: int) -> None:
        self._reader, self._size = engine, size
        tokens, layout = engine.lay(rows, face="decoder", left=True)
        capacity = tokens.shape[1] + (rounds + 1) * size
        self._cache = Cache(engine.model.config, rows=len(rows), capacity=capacity, like=engine.model.table)
        starts = torch.tensor([len(row) for row in rows], dtype=torch.int32, device=engine.device)
        position = starts[:, None] + torch.arange(size, dtype=torch.int32, device=engine.device)  # [B, S]
        zeros = torch.zeros_like(position)
        self._next = Layout(document=zeros, step=position // size, group=zeros, position=position)
        if tokens.shape[1]:
            self._reader.states_after(self._cache, tokens, replace(layout, step=layout.position // size))

    @torch.inference_mode()
    def noisy(self, tokens: np.ndarray) -> Tensor:
        """The states [B, S, D] of the next block, some of whose tokens [B, S] are [MASK]."""
        length = self._cache.length
        fed = torch.from_numpy(tokens).to(self._reader.device)
        states = self._reader.states_after(
            self._cache, fed, replace(self._next, group=torch.ones_like(self._next.group))
        )
        self._cache.keep(length)
        return states

    @torch.inference_mode()
    def add(self, tokens: np.ndarray) -> None:
        """The next block [B, S] is clean now."""
        self._reader.states_after(self._cache, torch.from_numpy(tokens).to(self._reader.device), self._next)
        position = self._next.position + self._size
        self._next = replace(self._next, position=position, step=position // self._size)


def write_blocks(engine: Engine, texts: Sequence[GrowingText], options: GenerationOptions) -> None:
    """Writes all texts to their end. Blocks are written whole, and what is more than was asked for is cut off."""
    while growing := [text for text in texts if text.left]:
        _grow(engine, growing, options)


def _grow(engine: Engine, texts: Sequence[GrowingText], options: GenerationOptions) -> None:
    """Adds blocks to all texts until none grows or one needs its older half forgotten."""
    vocabulary, longest = engine.tokenizer.vocabulary, engine.model.config.length
    size = min(engine.trained.decoding["blocks"], longest)
    room = longest // size * size  # whole blocks only
    for text in texts:
        text.forget(len(text.new), room - 1)
    rows = [text.row(text.new) for text in texts]
    done = [len(row) // size * size for row in rows]
    rest = [row[count:] for row, count in zip(rows, done, strict=True)]
    wanted = max(-(-(len(known) + text.left) // size) for known, text in zip(rest, texts, strict=True))
    rounds = min(wanted, (room - max(done)) // size)
    clean = [row[:count] for row, count in zip(rows, done, strict=True)]
    blocks = CleanBlocks(engine, clean, size=size, rounds=rounds)
    for number in range(rounds):
        hidden = []
        for text, known in zip(texts, rest, strict=True):
            token = vocabulary.mask if text.left else vocabulary.pad  # of a finished text nobody reads on
            block = np.append(known, np.full(size - len(known), token))
            unmasking = options.unmasking(size - len(known))
            hidden.append(HiddenRow(block, mask=vocabulary.mask, stream=text.stream, unmasking=unmasking))
        while any(len(row.places) for row in hidden):
            states = blocks.noisy(np.stack([row.tokens for row in hidden]))
            say(engine, states, hidden, options.sampling)
        for text, row, known in zip(texts, hidden, rest, strict=True):
            text.write(row.tokens[len(known) :])
        if number == rounds - 1 or not any(text.left for text in texts):
            return
        blocks.add(np.stack([row.tokens for row in hidden]))
        rest = [row[:0] for row in rows]
