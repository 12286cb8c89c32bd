"""Keys and values kept while a text grows, so that only new tokens are computed.

Letters: B rows, H heads, E head width, K tokens so far.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bothways.model.config import ModelConfig
from bothways.visibility import Layout


class LayerCache:
    """One layer's keys and values, in room made for `capacity` tokens."""

    def __init__(self, keys: Tensor) -> None:
        self.keys = keys  # [B, H, capacity, E]
        self.values = torch.empty_like(keys)
        self.length = 0

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Appends k and v [B, H, Q, E]; returns all of them so far, [B, H, K, E]."""
        stop = self.length + k.shape[2]
        self.keys[:, :, self.length : stop] = k
        self.values[:, :, self.length : stop] = v
        self.length = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def select(self, rows: Tensor) -> None:
        self.keys, self.values = (self._selected(old, rows) for old in (self.keys, self.values))

    def _selected(self, old: Tensor, rows: Tensor) -> Tensor:
        new = old if len(rows) == len(old) else old.new_empty(len(rows), *old.shape[1:])
        new[:, :, : self.length] = old[rows, :, : self.length]  # the right side is a copy
        return new


class Cache:
    """The layers' keys and values and the layout of the tokens they belong to."""

    def __init__(self, config: ModelConfig, *, rows: int, capacity: int, like: Tensor) -> None:
        shape = (rows, config.heads, capacity, config.head_width)
        self.layers = [LayerCache(like.new_empty(shape)) for _ in range(config.layers)]
        self.layout: Layout | None = None

    @property
    def length(self) -> int:
        return self.layers[0].length

    def grow(self, layout: Layout) -> Layout:
        """Appends the layout of new tokens [B, Q]; returns that of all tokens so far [B, K]."""
        self.layout = layout if self.layout is None else self.layout.then(layout)
        return self.layout

    def keep(self, length: int) -> None:
        """Forgets everything after the first `length` tokens."""
        for layer in self.layers:
            layer.length = length
        if self.layout is not None:
            self.layout = self.layout.map(lambda column: column[:, :length])

    def select(self, rows: Tensor) -> None:
        """Row i becomes what row `rows[i]` was; a row may be taken many times, or not at all (beams)."""
        for layer in self.layers:
            layer.select(rows)
        if self.layout is not None:
            self.layout = self.layout.map(lambda column: column[rows])
