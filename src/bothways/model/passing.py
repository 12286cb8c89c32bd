"""What goes through all blocks with the states of one batch.

Letters: B rows, T tokens, D width, H heads, Q queries, K keys, S tokens of an encoder, N places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace

import torch
from torch import Tensor

from bothways.model.attention import Rotary
from bothways.model.cache import Cache, LayerCache
from bothways.model.config import ModelConfig
from bothways.model.tiles import Tile, faster_tiles
from bothways.visibility import Layout

Mask = Tensor | list[Tile] | None
"""Boolean [B, 1, Q, K], True = may see; or its tiles; or nothing: all see all."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of a batch through the blocks: the caller's part, and behind it what `Stack.states` fills in.

    layout   of the tokens [B, Q]
    mask     who sees whom
    cache    keys and values of the tokens before; the mask then has a column for all of them
    at       [N] places, in rows laid end to end, whose last states alone are wanted: after the last attention nothing
             else is computed; None: all
    memory   states of an encoder [B, S, D] and who sees them, boolean [B, 1, Q, S]: for blocks with cross-attention
    watched  {what a block can show: where it puts it, block by block}; "attention": the weights [B, H, Q, K], float32
    losses   {name: sum over the blocks}: what blocks want minimised beside the objective's loss (a router's balance),
             a mean over tokens each; None: no block has one
    rotary   the turned positions, in the modern shape
    layer    the number of the block
    """

    layout: Layout
    mask: Mask
    _: KW_ONLY
    cache: Cache | None = None
    at: Tensor | None = None
    memory: tuple[Tensor, Tensor] | None = None
    watched: Mapping[str, list[Tensor]] = field(default_factory=dict)
    losses: dict[str, Tensor] | None = None
    rotary: Rotary | None = None
    layer: int = 0

    def prepared(self, config: ModelConfig, dtype: torch.dtype) -> Pass:
        """With what is computed once for all blocks: the turned positions, and the mask in tiles where that is faster
        (tiles have neither a cache nor weights to show)."""
        mask, rotary = self.mask, None
        if isinstance(mask, Tensor) and self.cache is None and "attention" not in self.watched:
            mask = faster_tiles(mask, heads=config.heads, dtype=dtype) or mask
        if config.shape == "modern":
            rotary = Rotary(
                self.layout.position,
                head_width=config.head_width,
                base=config.rotary_base,
                dtype=dtype,
                scaling=config.rotary_scaling,
            )
        return replace(self, mask=mask, rotary=rotary)

    def in_block(self, number: int, *, last: bool) -> Pass:
        return replace(self, layer=number, at=self.at if last else None)

    @property
    def layer_cache(self) -> LayerCache | None:
        """The keys and values of this block."""
        return None if self.cache is None else self.cache.layers[self.layer]

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
