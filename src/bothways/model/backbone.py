"""The one Transformer: tokens and a layout in, a state for every token out.

Letters: B rows, T tokens, D width, Q queries, K keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bothways.model.block import Block, norm_of
from bothways.model.cache import Cache
from bothways.model.config import ModelConfig
from bothways.model.passing import Pass
from bothways.visibility import Layout


class Embeddings(nn.Module):
    """Token embeddings, and those of segments, languages and places, where there are any; a norm, and a projection
    (ELECTRA small).

    Where a model has segments and no languages, a layout without segments has its languages told apart by them.

    Args:
        shared: without a table of tokens: it is given, a decoder's is that of its encoder.
    """

    tokens: nn.Embedding
    prompt: nn.Parameter | None
    """[P, E] of a soft prompt: its tokens are numbered from `vocabulary` on (model/adapters)"""
    vocabulary: int

    def __init__(self, config: ModelConfig, *, shared: bool = False) -> None:
        super().__init__()
        width = config.embedding_width or config.width
        self.scale = width**0.5 if config.scaled_embeddings else None
        self.register_parameter("prompt", None)
        self.vocabulary = config.vocabulary
        self.register_module("tokens", None if shared else nn.Embedding(config.vocabulary, width))
        self.segments = nn.Embedding(config.segments, width) if config.segments else None
        self.languages = nn.Embedding(config.languages, width) if config.languages else None
        self.positions = nn.Embedding(config.length, width) if config.positions.kind == "learned" else None
        self.norm = norm_of(config, width) if config.norm.embeddings else None
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(width, config.width) if width != config.width else None

    def look_up(self, tokens: Tensor, layout: Layout, table: Tensor | None = None) -> Tensor:
        """The sum of what the tables hold: [B, T, embedding width]."""
        if self.prompt is None or table is not None:
            x = F.embedding(tokens, self.tokens.weight if table is None else table)
        else:
            x = self._with_prompt(tokens, self.prompt)
        x = x if self.scale is None else x * self.scale
        if self.segments is not None:
            segment = layout.segment if self.languages is not None or layout.segment is not None else layout.language
            x = x + self.segments(torch.zeros_like(tokens) if segment is None else segment)
        if self.languages is not None:
            x = x + self.languages(torch.zeros_like(tokens) if layout.language is None else layout.language)
        if self.positions is not None:
            x = x + self.positions(layout.position)
        return x

    def _with_prompt(self, tokens: Tensor, prompt: Tensor) -> Tensor:
        """[B, T, E], those of the soft prompt among them."""
        number = tokens - self.vocabulary
        soft = (number >= 0) & (number < len(prompt))
        x = F.embedding(tokens.masked_fill(soft, 0), self.tokens.weight)
        return torch.where(soft[..., None], F.embedding(number.clamp(0, len(prompt) - 1), prompt), x)

    def normed(self, x: Tensor) -> Tensor:
        """That sum, as what comes after it reads it."""
        dropped: Tensor = self.dropout(x if self.norm is None else self.norm(x))
        return dropped

    def forward(self, tokens: Tensor, layout: Layout, table: Tensor | None = None) -> Tensor:
        """Tokens [B, T] as states [B, T, D]; `table` [V, E] where it is shared."""
        return self.widened(self.normed(self.look_up(tokens, layout, table)))

    def widened(self, x: Tensor) -> Tensor:
        """[B, T, E] as wide as the blocks, [B, T, D]."""
        result: Tensor = x if self.project is None else self.project(x)
        return result


class Stack(nn.Module):
    """Blocks and, where norms come before them, a last norm; what has them names them so.

    A block is any module `(x [B, T, D], given: Pass) -> [B, T, D]`; where places are wanted, `given.wanted(x)` is what
    it adds to, and it gives [N, D]. One with losses of its own names them in `extra_losses` and adds them to the pass.
    """

    config: ModelConfig
    blocks: nn.ModuleList
    norm: nn.Module
    prefix: nn.Module | None
    """learned keys and values before those of the tokens (model/adapters)"""

    def __init__(self) -> None:
        super().__init__()
        self.register_module("prefix", None)

    def states(self, x: Tensor, given: Pass) -> Iterator[Tensor]:
        """Embedded tokens [B, T, D], then the state after every block, the last one normed: who wants no more blocks
        asks for no more states."""
        yield x
        if self.prefix is not None and given.cache is None:
            given = replace(given, prefix=self.prefix())
        given = given.prepared(self.config, len(self.blocks), x.dtype)
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            x = block(x, given.in_block(number, window=self.config.window(number), last=number == last))
            if number == last:
                x = self.norm(x)
            yield x

    def encode(self, x: Tensor, given: Pass) -> Tensor:
        """Embedded tokens [B, T, D] -> the last states [B, T, D], or those at the places wanted: [N, D]."""
        for state in self.states(x, given):
            x = state
        return x


class Backbone(Stack):
    """Embeddings, blocks and, where norms come before them, a last norm."""

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
        at: Tensor | None = None,
    ) -> Tensor:
        """tokens [B, T], layout [B, T], mask [B, 1, T, K] boolean (None: all see all) -> [B, T, D]; see `Pass`."""
        return self.encode(self.embeddings(tokens, layout), Pass(layout, mask, cache=cache, at=at))


class Decoder(Stack):
    """The second stack of an encoder-decoder: what it wrote so far and an encoder's states in, states out. Its table of
    tokens is the encoder's; places have one of its own where they have a table."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.decoder is not None
        self.config = config
        self.embeddings = Embeddings(config, shared=True)
        self.blocks, self.norm = blocks_and_norm(config, config.decoder.layers, crosses=True)


def blocks_and_norm(
    config: ModelConfig, layers: int | None = None, *, crosses: bool = False
) -> tuple[nn.ModuleList, nn.Module]:
    """The blocks, and what comes after the last: a norm, where norms come before blocks.

    Args:
        layers: how many blocks; left out, the configuration's.
        crosses: with cross-attention.
    """
    blocks = nn.ModuleList(
        Block(config, normed=number == 0 and config.norm.embeddings, crosses=crosses)
        for number in range(config.layers if layers is None else layers)
    )
    return blocks, nn.Identity() if config.classic else norm_of(config, config.width)


@torch.no_grad()
def initialise(module: nn.Module, *, config: ModelConfig, generator: torch.Generator) -> None:
    """Normal(0, init) for matrices and embeddings; what adds to the residual stream is divided by sqrt(2 layers).

    GPT-2 (Radford et al. 2019, section 2.3) for the scaling. Norms start at one; biases, and tables that hold a
    difference to another table, at zero. Vectors of other classes, an objective's own, stay as they were made, and so
    does all of a module with `keeps_weights = True`.
    """
    for name, owner, parameter in _parameters(module):
        if parameter.dim() < 2 or name.endswith("difference.weight"):
            norm = name.endswith("norm.weight") or (isinstance(owner, _NORMS) and name.endswith("weight"))
            if norm or type(owner).__module__.startswith(("torch.nn.", "bothways.")):
                parameter.fill_(1.0 if norm else 0.0)
            continue
        residual = name.endswith(("attention.out.weight", "down.weight"))
        std = config.init / (2 * config.layers) ** 0.5 if residual else config.init
        parameter.normal_(0.0, std, generator=generator)


_NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)


def _parameters(module: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """(name, module that holds it, parameter), each once, in the order of `named_parameters`; none of modules that keep
    their weights."""
    seen: set[int] = set()

    def below(one: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
        if getattr(one, "keeps_weights", False):
            return
        for name, parameter in one.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield f"{prefix}{name}", one, parameter
        for name, child in one.named_children():
            yield from below(child, f"{prefix}{name}.")

    return below(module, "")
