"""Keys and values kept while sequences grow, so that only new tokens are computed.

A sequence has a slot, one row of the cache, and a length of its own. Slots in use are the first ones: a new sequence
takes the next, and where one ends, the last takes its place. So what is read of the cache is always a view.

Letters: S slots, B rows that are read, H key heads, E head width, Q new tokens, K tokens of the longest row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bothways.model.config import ModelConfig
from bothways.visibility import Layout

NOBODY = torch.iinfo(torch.int32).min
"""The document of a place that holds nothing."""

Place = tuple[slice | Tensor, slice | Tensor]
"""The slots and the columns where new tokens are written."""


class LayerCache:
    """One layer's keys and values [S, H, capacity, E], each key head's once; before those of all slots, the same
    `prefix` [2, H, P, E], where there is one."""

    def __init__(self, keys: Tensor, prefix: Tensor | None = None) -> None:
        self.before = 0 if prefix is None else prefix.shape[2]
        self._all = [keys, torch.zeros_like(keys)]
        if prefix is not None:
            self._all = [
                torch.cat([own.expand(len(keys), -1, -1, -1).to(some), some], 2)
                for own, some in zip(prefix, self._all, strict=True)
            ]
        self.keys, self.values = (some[:, :, self.before :] for some in self._all)
        self.rows, self.stop = slice(0), 0
        self.place: Place = (slice(0), slice(0))

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Writes k and v [B, H, Q, E] behind the rows that are read; returns all of theirs, [B, H, K, E]."""
        rows, columns = self.place
        for kept, new in ((self.keys, k), (self.values, v)):
            kept[rows, :, columns] = new if isinstance(columns, slice) else new.transpose(1, 2)
        return self.kept()

    def kept(self) -> tuple[Tensor, Tensor]:
        """Keys and values of the rows that are read, [B, H, K, E], the prefix first."""
        keys, values = (some[self.rows, :, : self.before + self.stop] for some in self._all)
        return keys, values


class Cache:
    """The layers' keys and values and the layout of the tokens they belong to.

    lengths  [slots in use] tokens of each sequence
    read     the layout [B, K] of the tokens that those last grown see
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        rows: int,
        capacity: int,
        like: Tensor,
        decoder: bool = False,
        prefix: Tensor | None = None,
    ) -> None:
        """
        Args:
            decoder: of a decoder's blocks, those of its own tokens or of its sources.
            prefix: [layers, 2, H, P, E] keys and values that stand before every sequence; they have no place in it.
        """
        self.before = 0 if prefix is None else prefix.shape[3]
        shape = (rows, config.key_heads, capacity, config.head_width)
        # Zeros: unused slots have an attention weight of 0, and 0 x NaN would be NaN.
        count = config.decoder.layers if decoder and config.decoder else config.layers
        self.layers = [
            LayerCache(like.new_zeros(shape), None if prefix is None else prefix[layer]) for layer in range(count)
        ]
        self.lengths: list[int] = []
        self.read: Layout | None = None
        self._layout: Layout | None = None
        self._shape, self._device = (rows, capacity), like.device

    def take(self, count: int) -> None:
        """So many new sequences take the next slots."""
        self.lengths += [0] * count

    @torch.inference_mode()
    def grow(self, layout: Layout) -> Layout:
        """New tokens [B, Q] behind the last B sequences, padding last; returns the layout of all of theirs [B, K].

        Padding is seen by nobody, and the next tokens overwrite it.
        """
        first, count = len(self.lengths) - len(layout.document), layout.document.shape[1]
        starts = self.lengths[first:]
        rows, stop = slice(first, len(self.lengths)), max(starts) + count
        place: Place = (rows, slice(starts[0], starts[0] + count))
        if min(starts) != max(starts):
            slots = torch.arange(first, len(self.lengths), device=self._device)[:, None]
            columns = torch.tensor(starts, device=self._device)[:, None] + torch.arange(count, device=self._device)
            place = (slots, columns)
        kept, new = {} if self._layout is None else self._layout.columns, layout.columns
        for name in new.keys() - kept.keys():
            kept[name] = new[name].new_zeros(self._shape)
        if self._layout is None:
            kept["document"].fill_(NOBODY)
        for name, column in kept.items():
            column[place] = new.get(name, 0)
        self._layout = Layout(**kept)
        for layer in self.layers:
            layer.place, layer.rows, layer.stop = place, rows, stop
        real = (layout.document >= 0).sum(1).tolist()
        self.lengths[first:] = [start + new for start, new in zip(starts, real, strict=True)]
        self.read = self._layout.map(lambda column: column[rows, :stop])
        return self.read

    def reread(self, count: int) -> Layout:
        """The last `count` sequences as they are: what is read of the layers is theirs; their layout [B, K]."""
        assert self._layout is not None, "nothing was read yet"
        rows = slice(len(self.lengths) - count, len(self.lengths))
        stop = max(self.lengths[rows])
        for layer in self.layers:
            layer.rows, layer.stop = rows, stop
        self.read = self._layout.map(lambda column: column[rows, :stop])
        return self.read

    @torch.inference_mode()
    def keep(self, lengths: Sequence[int]) -> None:
        """Forgets, of every sequence, all after its first `lengths[i]` tokens."""
        self.lengths = list(lengths)
        if self._layout is not None:
            kept = torch.tensor(self.lengths, device=self._device)[:, None]
            places = torch.arange(self._shape[1], device=self._device)
            self._layout.document[: len(lengths)].masked_fill_(places >= kept, NOBODY)

    @torch.inference_mode()
    def select(self, rows: Sequence[int]) -> None:
        """Slot i holds what slot `rows[i]` held, which may be taken many times (beams), or not at all: it is free."""
        used, stop = len(self.lengths), max(self.lengths, default=0)
        moved = [slot for slot, row in enumerate(rows) if slot != row]
        if moved:
            to, source = (torch.tensor(some, device=self._device) for some in (moved, [rows[slot] for slot in moved]))
            tensors = [tensor for layer in self.layers for tensor in (layer.keys, layer.values)]
            for kept in tensors:
                kept[to, :, :stop] = kept[source, :, :stop]  # the right side is a copy
            if self._layout is not None:
                self._layout.map(lambda column: column.index_copy_(0, to, column[source]))
        if self._layout is not None:
            self._layout.document[len(rows) : used] = NOBODY
        self.lengths = [self.lengths[row] for row in rows]
