"""What goes through all blocks with the states of one batch.

Letters: B rows, T tokens, D width, H heads, Q queries, K keys, S tokens of an encoder, N places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bothways.model.attention import Rotary
from bothways.model.cache import Cache, LayerCache
from bothways.model.config import ModelConfig
from bothways.model.tiles import Tile, faster_tiles
from bothways.visibility import Layout, within

Mask = Tensor | list[Tile] | None
"""Boolean [B, 1, Q, K], True = may see; or its tiles; or nothing: all see all."""


class Memory(NamedTuple):
    """The source of a decoder.

    states  of the encoder [B, S, D]; None: the cache has the keys and values that were made of them
    mask    who sees them, boolean [B, 1, Q, S]; None: all
    cache   of keys and values of sources, those of this pass being the last in it
    """

    states: Tensor | None
    mask: Tensor | None
    cache: Cache | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of a batch through the blocks: the caller's part, and behind it what `Stack.states` fills in.

    layout   of the tokens [B, Q]
    mask     who sees whom
    cache    keys and values of the tokens before; the mask then has a column for all of them
    at       [N] places, in rows laid end to end, whose last states alone are wanted: after the last attention nothing
             else is computed; None: all
    memory   what blocks with cross-attention see of a source, see `Memory`
    watched  {what a block can show: where it puts it, block by block}; "attention": the weights [B, H, Q, K], float32
    losses   {name: sum over the blocks}: what blocks want minimised beside the objective's loss (a router's balance),
             a mean over tokens each; None: no block has one
    prefix   learned keys and values [layers, 2, G, P, E] that all tokens see and that have no place; with a cache they
             stand in it, before all others
    rotary   the turned positions of this block, where positions are rotary
    windows  {how far blocks see: their mask and their turned positions}
    layer    the number of the block
    """

    layout: Layout
    mask: Mask
    _: KW_ONLY
    cache: Cache | None = None
    at: Tensor | None = None
    memory: Memory | None = None
    watched: Mapping[str, list[Tensor]] = field(default_factory=dict)
    losses: dict[str, Tensor] | None = None
    prefix: Tensor | None = None
    rotary: Rotary | None = None
    windows: Mapping[int | None, tuple[Mask, Rotary | None]] = field(default_factory=dict)
    layer: int = 0

    def prepared(self, config: ModelConfig, layers: int, dtype: torch.dtype) -> Pass:
        """With what is computed once for all blocks that see as far: mask and turned positions."""
        reach = {config.window(block) for block in range(layers)}
        made = {window: (self._mask(window, config, dtype), self._rotary(window, config, dtype)) for window in reach}
        return replace(self, windows=made)

    def _mask(self, window: int | None, config: ModelConfig, dtype: torch.dtype) -> Mask:
        """In tiles where that is faster; tiles have neither a cache nor weights to show."""
        mask = self.mask
        if window is not None and not isinstance(mask, list):
            near = within(window).dense(self.layout, None if self.cache is None else self.cache.read)
            mask = near if mask is None else mask & near
        before = self.cache.before if self.cache else 0 if self.prefix is None else self.prefix.shape[3]
        if isinstance(mask, Tensor) and before:
            return F.pad(mask, (before, 0), value=True)
        if isinstance(mask, Tensor) and self.cache is None and "attention" not in self.watched:
            mask = faster_tiles(mask, heads=config.heads, dtype=dtype) or mask
        return mask

    def _rotary(self, window: int | None, config: ModelConfig, dtype: torch.dtype) -> Rotary | None:
        own = config.positions
        if own.kind != "rotary":
            return None
        base = own.base if window is None else own.local_base or own.base
        return Rotary(self.layout.position, head_width=config.head_width, base=base, dtype=dtype, scaling=own.scaling)

    def in_block(self, number: int, *, window: int | None, last: bool) -> Pass:
        """The pass as block `number` sees it."""
        mask, rotary = self.windows[window]
        return replace(self, layer=number, mask=mask, rotary=rotary, at=self.at if last else None)

    @property
    def layer_cache(self) -> LayerCache | None:
        """The keys and values of this block."""
        return None if self.cache is None else self.cache.layers[self.layer]

    @property
    def layer_prefix(self) -> Tensor | None:
        """The prefix of this block, keys and values [2, G, P, E]."""
        return None if self.prefix is None else self.prefix[self.layer]

    def everywhere(self) -> Pass:
        """The same for all places."""
        return self if self.at is None else replace(self, at=None)

    def wanted(self, x: Tensor) -> Tensor:
        """The states [N, D] of x [B, T, D] at the places wanted; where all are, x itself."""
        return x if self.at is None else x.flatten(0, 1).index_select(0, self.at)

    def add_loss(self, name: str, mean: Tensor) -> None:
        """Adds a block's own loss, where gradients are kept.

        Raises:
            RuntimeError: nobody takes it, and it would be lost.
        """
        if not torch.is_grad_enabled():
            return
        if self.losses is None:
            raise RuntimeError(
                f"a block adds the loss {name!r} and this pass has no `losses` to take it: give it "
                "Pass(..., losses={}) and add them to the objective's by bothways.model.losses.with_extra"
            )
        self.losses[name] = self.losses[name] + mean if name in self.losses else mean
