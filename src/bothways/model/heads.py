"""What is said in other ways than by a word: heads over the states of the main model.

Letters: N places, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bothways.model.config import ModelConfig


class Replaced(nn.Module):
    """The logit that a token was replaced: one linear map, in the classic shape after a dense layer and GELU.

    ELECTRA (Clark et al. 2020, section 3.1) has the latter; a linear map is all that transformers' EuroBERT can hold.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        classic = config.shape == "classic"
        self.dense = nn.Linear(config.width, config.width) if classic else None
        self.logit = nn.Linear(config.width, 1, bias=classic)

    def forward(self, hidden: Tensor) -> Tensor:
        """[N, D] -> [N]."""
        if self.dense is not None:
            hidden = F.gelu(self.dense(hidden))
        logits: Tensor = self.logit(hidden)
        return logits[..., 0]

    def loss(self, hidden: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of the binary cross-entropies; labels [N]: 1 replaced, 0 original."""
        logits = self(hidden).float()
        return F.binary_cross_entropy_with_logits(logits, labels.float(), weight=weights, reduction="sum")


class Sentences(nn.Module):
    """Do the two halves belong together (0) or not (1)? In the classic shape after a dense layer and tanh (BERT)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width) if config.shape == "classic" else None
        self.out = nn.Linear(config.width, 2, bias=config.shape == "classic")

    def forward(self, hidden: Tensor) -> Tensor:
        """[N, D] -> logits [N, 2]."""
        logits: Tensor = self.out(hidden if self.dense is None else torch.tanh(self.dense(hidden)))
        return logits

    def loss(self, hidden: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of the negative log-likelihoods of `labels` [N], in nats."""
        return (F.cross_entropy(self(hidden).float(), labels, reduction="none") * weights).sum()


class Copied(nn.Module):
    """The logit that a token is to be copied from the input, rather than said by the words head (All-Tokens MLM)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.logit = nn.Linear(config.width, 1, bias=False)

    def loss(self, hidden: Tensor, logits: Tensor, *, reads: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum of -log(D [reads = label] + (1 - D) softmax(logits)[label]), D the chance to copy.

        hidden [N, D], logits [N, V], reads and labels [N] tokens (Clark et al. 2020, section 3.4).
        """
        gate = self.logit(hidden).float()[:, 0]
        said = F.logsigmoid(-gate) - F.cross_entropy(logits.float(), labels, reduction="none")
        copied = torch.where(reads == labels, F.logsigmoid(gate), -torch.inf)
        return -(torch.logaddexp(said, copied) * weights).sum()


HEADS: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "replaced": Replaced,
    "sentences": Sentences,
    "copied": Copied,
}
"""{name in a model: what makes it}: those that a saved model may hold."""
