"""A model: the backbone, its named heads, and other networks that an objective asked for.

Letters: B rows, T tokens, D width, N targets, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bothways.batch import Batch
from bothways.errors import UsageError
from bothways.model.backbone import Backbone, Decoder, initialise
from bothways.model.config import ModelConfig
from bothways.model.heads.head import Head
from bothways.model.heads.words import LMHead
from bothways.model.passing import Memory, Pass
from bothways.visibility import Visibility, ordered

PartFactory = Callable[[ModelConfig], nn.Module]


class Model(nn.Module):
    """Backbone, heads by name ("words" is always there), parts by name (ELECTRA's generator), and who sees whom: the
    rule that it is trained under and asked under. Of an encoder-decoder, the backbone is the encoder.

    A head is a module that keeps the contract of `heads.head.Head`; two of one kind have two names.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        seed: int = 0,
        heads: Mapping[str, PartFactory] | None = None,
        parts: Mapping[str, PartFactory] | None = None,
        rule: Visibility = ordered,
    ) -> None:
        super().__init__()
        self.config = config
        self.rule = rule
        self.backbone = Backbone(config)
        self.decoder = Decoder(config) if config.decoder else None
        self.words = LMHead(config)
        self.heads = nn.ModuleDict({name: factory(config) for name, factory in (heads or {}).items()})
        self.parts = nn.ModuleDict({name: factory(config) for name, factory in (parts or {}).items()})
        initialise(self, config=config, generator=torch.Generator().manual_seed(seed))

    @property
    def table(self) -> Tensor:
        """The token embeddings [V, D]."""
        weight: Tensor = self.backbone.embeddings.tokens.weight
        return weight

    @property
    def blocks(self) -> list[nn.Module]:
        """All blocks, the encoder's first."""
        return [*self.backbone.blocks, *(self.decoder.blocks if self.decoder else ())]

    def states(self, batch: Batch, extra: dict[str, Tensor] | None = None) -> Tensor:
        """The state of every token [B, T, D]; the mask is made once for all layers."""
        return self.states_at(batch, None, extra)

    def states_at(self, batch: Batch, at: Tensor | None, extra: dict[str, Tensor] | None = None) -> Tensor:
        """The states at places `at` [N] of the rows laid end to end, [N, D]: what nobody reads of the last block is not
        computed; None: of all [B, T, D]. Losses of the blocks' own are added to `extra`.

        Where the batch has a source, these are the decoder's states, which see those of the encoder by the same rule.

        Raises:
            UsageError: a source, and the model has no decoder.
        """
        given = Pass(batch.layout, self.rule.dense(batch.layout), at=at, losses=extra)
        if batch.source is None:
            return self.backbone.encode(self.backbone.embeddings(batch.tokens, batch.layout), given)
        if self.decoder is None:
            raise UsageError(
                "this batch is for an encoder-decoder, and the model has no decoder: its size is as 6-6x256"
            )
        tokens, layout = batch.source.tokens, batch.source.layout
        encoded = Pass(layout, self.rule.dense(layout), losses=extra)
        states = self.backbone.encode(self.backbone.embeddings(tokens, layout), encoded)
        given = replace(given, memory=Memory(states, self.rule.across(batch.layout, layout)))
        return self.decoder.encode(self.decoder.embeddings(batch.tokens, batch.layout, self.table), given)

    def head(self, name: str) -> Head:
        """
        Raises:
            UsageError: there is none of that name.
        """
        heads: dict[str, Any] = {"words": self.words.over(self.table), **dict(self.heads.items())}
        if name not in heads:
            raise UsageError(f"a target asks for the head {name!r}; the model has {', '.join(heads)}")
        found: Head = heads[name]
        return found

    def hidden_at(self, batch: Batch, extra: dict[str, Tensor] | None = None) -> list[Tensor]:
        """The states that the head of each target of the batch reads, see `Head.places`; `extra` as in `states_at`."""
        places = [self.head(target.head).places(torch.as_tensor(target.at)) for target in batch.targets]
        known = [at for at in places if at is not None]
        if len(known) == len(places):
            return list(self.states_at(batch, torch.cat(known), extra).split([len(at) for at in known]))
        states = self.states(batch, extra).flatten(0, 1)
        return [states if at is None else states.index_select(0, at) for at in places]

    def forward(self, batch: Batch) -> Tensor:
        """Logits of every token over the vocabulary, [B, T, V]; for looking and testing, training never makes them."""
        return self.logits(self.states(batch))

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] -> [..., V]."""
        result: Tensor = self.words(hidden, self.table)
        return result

    def for_inference(self, *, device: torch.device, dtype: torch.dtype, generates: bool) -> Model:
        """Itself on a device, to predict with.

        In float32 on a CPU, matrices that are at least as wide as what they read are laid out by columns, and the table
        too where the model `generates`: a product with the few rows of a step is faster by a quarter, with the table up
        to three times, and one with many rows is as before (docs/results.md). Elsewhere all are laid out by rows.
        """
        self.eval().to(device=device, dtype=dtype)
        columns = device.type == "cpu" and dtype == torch.float32
        every: Any = [part for part in self.modules() if isinstance(part, nn.Linear) or hasattr(part, "lora_a")]
        turned = [(part.weight, columns and part.out_features >= part.in_features) for part in every]
        for weight, transposed in (*turned, (self.table, columns and generates)):
            weight.data = weight.data.t().contiguous().t() if transposed else weight.data.contiguous()
        return self

    def parameter_count(self) -> int:
        """How many weights it has, shared ones once."""
        return sum(parameter.numel() for parameter in self.parameters())
