"""One label for a pair of texts, found in several turns: the stochastic answer network (Liu, Duh and Gao 2018, section
2; MT-DNN's head for pairs, Liu et al. 2019, section 3).

Letters: B rows, T tokens, D width, N pairs, L tokens of a text, K turns, C labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bothways.batch import Target
from bothways.model.config import ModelConfig
from bothways.model.heads.head import Head, Loss, cross_entropy, span_states

if TYPE_CHECKING:
    from bothways.model.abilities import TaskHead

TURNS = 5
DROPPED = 0.1
"""The chance that a turn is left out of the mean, while it is trained."""


class AnswerNetwork(nn.Module, Head):
    """The second text is summed up in a state; in every turn the state attends to the tokens of the first, a score is
    taken, and then the state is brought on by a GRU. What is predicted is the mean of the turns' softmaxes.

    The logits are the log of that mean, a distribution already: the cross-entropy's own softmax leaves it as it is, and
    so does that of whoever reads the logits. While it is trained whole turns are dropped, of every pair its own, and
    one is always kept; the mean is over those that are left, so that it sums to 1 (the published code divides by the
    share that is expected to be left).

    A target's `at` is [N, 4], the first and the last token of each of the two texts. `smoothing` is that of the labels
    while it is trained.
    """

    def __init__(self, config: ModelConfig, head: TaskHead, *, turns: int = TURNS, dropped: float = DROPPED) -> None:
        super().__init__()
        width = config.width
        self.turns, self.dropped, self.smoothing = turns, dropped, 0.0
        self.summary = nn.Linear(width, 1)
        self.attention = nn.Linear(width, width)
        self.read = nn.Linear(width, 3 * width)  # the GRU's: reset, update and new, from what was read
        self.kept = nn.Linear(width, 3 * width)  # the same from the state
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(4 * width, len(head.labels))

    def places(self, at: Tensor) -> None:
        """None: it wants all states."""

    def logits(self, hidden: Tensor, target: Target) -> Tensor:
        """[B*T, D] -> [N, C], log-probabilities in float32."""
        at = torch.as_tensor(target.at)
        memory, inside = span_states(hidden, at[:, 0], at[:, 1])
        second, within = span_states(hidden, at[:, 2], at[:, 3])
        state = _attended(self.summary(self.dropout(second))[..., 0], second, within)
        turns = []
        for _ in range(self.turns):
            read = _attended((memory @ self.attention(state)[..., None])[..., 0], memory, inside)
            turns.append(self.out(self.dropout(together(read, state))))
            state = self._brought_on(read, self.dropout(state))
        each = torch.stack(turns).float().log_softmax(-1)  # [K, N, C]
        counts = self._counts(len(at), each.device)  # [K, N]
        mean: Tensor = torch.where(counts[..., None], each, -torch.inf).logsumexp(0)
        return mean - counts.sum(0)[:, None].log()

    def loss(self, logits: Tensor, target: Target) -> Loss:
        """Sum over the pairs, and their count."""
        return cross_entropy(logits, target, smoothing=self.smoothing)

    def _brought_on(self, read: Tensor, state: Tensor) -> Tensor:
        """The state [N, D] of the next turn (a GRU, Cho et al. 2014)."""
        reset, update, new = self.read(read).chunk(3, dim=-1)
        own_reset, own_update, own_new = self.kept(state).chunk(3, dim=-1)
        update = (update + own_update).sigmoid()
        new = (new + (reset + own_reset).sigmoid() * own_new).tanh()
        found: Tensor = new + update * (state - new)
        return found

    def _counts(self, pairs: int, device: torch.device) -> Tensor:
        """bool [K, N]: which turns count for which pair; all of them where it is not trained."""
        if not self.training or not self.dropped:
            return torch.ones(self.turns, pairs, dtype=torch.bool, device=device)
        counts = torch.rand(self.turns, pairs, device=device) >= self.dropped
        sure = torch.randint(self.turns, (pairs,), device=device)
        return counts | (torch.arange(self.turns, device=device)[:, None] == sure)


def together(read: Tensor, state: Tensor) -> Tensor:
    """[N, D] twice -> [N, 4 D]: both, how they differ, and their product."""
    return torch.cat([read, state, (read - state).abs(), read * state], dim=-1)


def _attended(scores: Tensor, states: Tensor, inside: Tensor) -> Tensor:
    """The mean of states [N, L, D] by the softmax of scores [N, L] over those inside: [N, D]."""
    weights = scores.masked_fill(~inside, -torch.inf).softmax(-1)
    return (weights[..., None] * states).sum(1)
