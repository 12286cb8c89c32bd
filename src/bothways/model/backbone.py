"""The one Transformer: tokens and a layout in, a state for every token out.

Letters: B rows, T tokens, D width, Q queries, K keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from bothways.model.attention import Rotary
from bothways.model.block import ClassicBlock, Mask, ModernBlock, RMSNorm
from bothways.model.cache import Cache
from bothways.model.config import ModelConfig
from bothways.model.tiles import faster_tiles
from bothways.visibility import Layout


class Embeddings(nn.Module):
    """Token embeddings; in the classic shape also positions, segments, a norm and a projection (ELECTRA small)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.embedding_width or config.width
        self.tokens = nn.Embedding(config.vocabulary, width)
        self.segments = nn.Embedding(config.segments, width) if config.segments else None
        classic = config.shape == "classic"
        self.positions = nn.Embedding(config.length, width) if classic else None
        self.norm = nn.LayerNorm(width, eps=config.epsilon) if classic else None
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(width, config.width) if width != config.width else None

    def look_up(self, tokens: Tensor, layout: Layout) -> Tensor:
        """The sum of what the tables hold: [B, T, embedding width]."""
        x: Tensor = self.tokens(tokens)
        if self.segments is not None:
            x = x + self.segments(layout.segment)
        if self.positions is not None:
            x = x + self.positions(layout.position)
        return x

    def normed(self, x: Tensor) -> Tensor:
        """That sum, as what comes after it reads it."""
        return x if self.norm is None else self.dropout(self.norm(x))

    def forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        return self.widened(self.normed(self.look_up(tokens, layout)))

    def widened(self, x: Tensor) -> Tensor:
        result: Tensor = x if self.project is None else self.project(x)
        return result


class Backbone(nn.Module):
    """Embeddings, blocks and, in the modern shape, a last norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.blocks, self.norm = blocks_and_norm(config)

    def forward(
        self,
        tokens: Tensor,
        layout: Layout,
        mask: Tensor | None,
        cache: Cache | None = None,
        keep: Callable[[Tensor], None] | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        """tokens [B, T], layout [B, T], mask [B, 1, T, K] boolean (None: all see all) -> [B, T, D].

        With a cache, the tokens are new ones behind those it holds, and the mask has a column for all of them.
        `keep` is handed the state after the embeddings and after every block (probes, distillation). With places `at`
        [N], in rows laid end to end, only their states are given, [N, D], and what comes after the last attention is
        computed for them alone.
        """
        return self.encode(self.embeddings(tokens, layout), layout, mask, cache, keep, at)

    def encode(
        self,
        x: Tensor,
        layout: Layout,
        mask: Tensor | None,
        cache: Cache | None = None,
        keep: Callable[[Tensor], None] | None = None,
        at: Tensor | None = None,
    ) -> Tensor:
        """The same from embedded tokens [B, T, D] on."""
        return through(self, x, layout=layout, mask=mask, cache=cache, keep=keep, at=at)


def blocks_and_norm(config: ModelConfig) -> tuple[nn.ModuleList, RMSNorm | None]:
    """The blocks of a shape, and the last norm of the modern one."""
    block = ModernBlock if config.shape == "modern" else ClassicBlock
    blocks = nn.ModuleList(block(config) for _ in range(config.layers))
    return blocks, RMSNorm(config.width, config.epsilon) if config.shape == "modern" else None


class Blocks(Protocol):
    """A network of blocks and, in the modern shape, a last norm."""

    config: ModelConfig
    blocks: nn.ModuleList
    norm: RMSNorm | None


def through(
    network: Blocks,
    x: Tensor,
    *,
    layout: Layout,
    mask: Tensor | None,
    cache: Cache | None = None,
    keep: Callable[[Tensor], None] | None = None,
    at: Tensor | None = None,
) -> Tensor:
    """Embedded tokens [B, T, D] through all blocks and the last norm; see `Backbone.forward`."""
    seen, rotary = seen_by_blocks(network.config, x, layout, mask, tiled=cache is None)
    for i, block in enumerate(network.blocks):
        if keep is not None:
            keep(x)
        last = i == len(network.blocks) - 1
        held = None if cache is None else cache.layers[i]
        x = block(x, mask=seen, rotary=rotary, cache=held, at=at if last else None)
    if network.norm is not None:
        x = network.norm(x)
    if keep is not None:
        keep(x)
    return x


def seen_by_blocks(
    config: ModelConfig, x: Tensor, layout: Layout, mask: Tensor | None, *, tiled: bool = True
) -> tuple[Mask, Rotary | None]:
    """What all blocks share over one batch: the mask, in tiles where that is faster, and the turned positions."""
    cut = faster_tiles(mask, heads=config.heads, dtype=x.dtype) if mask is not None and tiled else None
    seen: Mask = mask if cut is None else cut
    if config.shape != "modern":
        return seen, None
    rotary = Rotary(
        layout.position,
        head_width=config.head_width,
        base=config.rotary_base,
        dtype=x.dtype,
        scaling=config.rotary_scaling,
    )
    return seen, rotary


@torch.no_grad()
def initialise(module: nn.Module, *, config: ModelConfig, generator: torch.Generator) -> None:
    """Normal(0, init) for matrices and embeddings; what adds to the residual stream is divided by sqrt(2 layers).

    GPT-2 (Radford et al. 2019, section 2.3) for the scaling. Norms start at one; biases, and tables that hold a
    difference to another table, at zero.
    """
    for name, parameter in module.named_parameters():
        if parameter.dim() < 2 or name.endswith("difference.weight"):
            parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
            continue
        residual = name.endswith(("attention.out.weight", "down.weight"))
        std = config.init / (2 * config.layers) ** 0.5 if residual else config.init
        parameter.normal_(0.0, std, generator=generator)
