"""A model: the backbone, its named heads, and other networks that an objective asked for.

Letters: B rows, T tokens, D width, N targets, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bothways.batch import Batch
from bothways.model.backbone import Backbone, initialise
from bothways.model.config import ModelConfig
from bothways.model.kernels import draw, linear_cross_entropy, linear_cross_entropy_and_draw
from bothways.model.passing import Pass
from bothways.visibility import Visibility, ordered


class WordsHead(nn.Module):
    """Which token? Logits against the embedding table itself (tied, Press & Wolf 2017), or another.

    tied         states times the table
    untied       states times a table of its own
    transformed  first a dense layer, GELU and a norm, at the end a bias a token (BERT)
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.embedding_width or config.width
        self.dense = self.norm = self.bias = self.untied = None
        if config.word_head == "untied":
            self.untied = nn.Linear(config.width, config.vocabulary, bias=False)
        if config.word_head == "transformed":
            self.dense = nn.Linear(config.width, width)
            self.norm = nn.LayerNorm(width, eps=config.epsilon)
            self.bias = nn.Parameter(torch.zeros(config.vocabulary))

    def transform(self, hidden: Tensor) -> Tensor:
        if self.dense is None or self.norm is None:
            return hidden
        result: Tensor = self.norm(F.gelu(self.dense(hidden)))
        return result

    def forward(self, hidden: Tensor, table: Tensor) -> Tensor:
        """hidden [N, D], table [V, D] -> logits [N, V]."""
        return F.linear(self.transform(hidden), self._table(table), self.bias)

    def loss(self, hidden: Tensor, table: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of the negative log-likelihoods of `labels` [N], in nats."""
        if self.bias is None:
            return linear_cross_entropy(self.transform(hidden), self._table(table), labels, weights)
        return (F.cross_entropy(self(hidden, table).float(), labels, reduction="none") * weights).sum()

    def loss_and_draw(
        self, hidden: Tensor, table: Tensor, labels: Tensor, weights: Tensor, chances: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same, and a token [N] drawn from each distribution by `chances` [N], float32 of 0..1."""
        if self.bias is None:
            hidden, table = self.transform(hidden), self._table(table)
            return linear_cross_entropy_and_draw(hidden, table, labels, weights, chances)
        logits = self(hidden, table).float()
        loss = (F.cross_entropy(logits, labels, reduction="none") * weights).sum()
        return loss, draw(logits.detach().softmax(-1), chances)

    def _table(self, tied: Tensor) -> Tensor:
        return tied if self.untied is None else self.untied.weight


PartFactory = Callable[[ModelConfig], nn.Module]


class Model(nn.Module):
    """Backbone, heads by name ("words" is always there), parts by name (ELECTRA's generator), and who sees whom: the
    rule that it is trained under and asked under.

    A head other than "words" is a module [N, D] -> [N, ...] with `loss(hidden, labels, weights)`.
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
        self.words = WordsHead(config)
        self.heads = nn.ModuleDict({name: factory(config) for name, factory in (heads or {}).items()})
        self.parts = nn.ModuleDict({name: factory(config) for name, factory in (parts or {}).items()})
        initialise(self, config=config, generator=torch.Generator().manual_seed(seed))

    @property
    def table(self) -> Tensor:
        """The token embeddings [V, D]."""
        weight: Tensor = self.backbone.embeddings.tokens.weight
        return weight

    def states(self, batch: Batch) -> Tensor:
        """The state of every token [B, T, D]; the mask is made once for all layers."""
        hidden: Tensor = self.backbone(batch.tokens, batch.layout, self.rule.dense(batch.layout))
        return hidden

    def states_at(self, batch: Batch, at: Tensor, extra: dict[str, Tensor] | None = None) -> Tensor:
        """The states at places `at` [N] of the rows laid end to end, [N, D]: what nobody reads of the last block is not
        computed. Losses of the blocks' own are added to `extra`."""
        given = Pass(batch.layout, self.rule.dense(batch.layout), at=at, losses=extra)
        return self.backbone.encode(self.backbone.embeddings(batch.tokens, batch.layout), given)

    def forward(self, batch: Batch) -> Tensor:
        """Logits of every token over the vocabulary, [B, T, V]; for looking and testing, training never makes them."""
        return self.logits(self.states(batch))

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] -> [..., V]."""
        result: Tensor = self.words(hidden, self.table)
        return result

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
