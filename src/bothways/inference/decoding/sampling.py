"""Which token comes next, given the logits.

Letters: B rows, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from bothways.arguments import at_least
from bothways.errors import UsageError

NUCLEUS = 512
"""So many likeliest tokens mostly hold any share that is asked for."""
COLDEST, HOTTEST = 1e-30, 1e30
"""Beyond these a temperature changes nothing any more, and is 0 or infinity in float32."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen from the logits.

    temperature  the logits are divided by it; 0 takes the likeliest token
    top_k        only among the so many likeliest; None: among all
    top_p        only among the likeliest that hold this share together (Holtzman et al. 2020, section 3.1)
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"temperature is 0 (the likeliest token) or more, and finite, got {self.temperature}")
        at_least(1, "top_k", self.top_k, "how many tokens to choose among")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is a share, above 0 and at most 1, got {self.top_p}")

    def __call__(self, logits: Tensor, uniforms: np.ndarray) -> np.ndarray:
        """logits [B, V] float32, one number of 0..1 a row -> tokens [B]."""
        if self.temperature == 0:
            return logits.argmax(-1).cpu().numpy()
        below = logits - logits.amax(-1, keepdim=True)  # 0 at most: divided by however little it is never infinity
        share, tokens = self._candidates(below / min(max(self.temperature, COLDEST), HOTTEST))
        upto = share.cumsum(-1)
        drawn = torch.from_numpy(uniforms).to(upto)[:, None] * upto[:, -1:]
        last = share.shape[-1] - 1 - (share > 0).flip(-1).byte().argmax(-1, keepdim=True)  # a chance rounded up to 1
        place = torch.searchsorted(upto, drawn, right=True).minimum(last)
        return (place if tokens is None else tokens.gather(1, place))[:, 0].cpu().numpy()

    def _candidates(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Shares [B, C] and the tokens that they are of, likeliest first; None: of all tokens, in their own order.

        Sorting takes more time than a small model's layers, so that no more is sorted than must be.
        """
        share = logits.softmax(-1)
        if self.top_k is None and self.top_p == 1:
            return share, None
        for count in (self.top_k or NUCLEUS, logits.shape[-1]):
            best = share.topk(min(count, logits.shape[-1]))
            among = best.values / best.values.sum(-1, keepdim=True) if self.top_k else best.values
            before = among.cumsum(-1) - among
            if self.top_k or bool((before[:, -1] >= self.top_p).all()):
                break
        return torch.where(before < self.top_p, among, 0.0), best.indices


def sample(
    logits: Tensor, samplings: Sequence[Sampling], uniforms: np.ndarray, *, plain: Tensor | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [B] of logits [B, V] float32, each row by its own sampling and number of 0..1, and the log-probabilities
    [B] in nats that the `plain` logits give them: those from which nothing was taken; left out, the same."""
    tokens = np.zeros(len(samplings), dtype=np.int64)
    for sampling in dict.fromkeys(samplings):
        rows = np.flatnonzero([one == sampling for one in samplings])
        some = logits if len(rows) == len(samplings) else logits[torch.from_numpy(rows).to(logits.device)]
        tokens[rows] = sampling(some, uniforms[rows])
    plain = logits if plain is None else plain
    chosen = plain.gather(1, torch.from_numpy(tokens).to(plain.device)[:, None])[:, 0]
    return tokens, (chosen - plain.logsumexp(-1)).cpu().numpy()


def repeating(written: Sequence[int], run: int) -> np.ndarray:
    """The tokens that, written next, would make a run of `run` tokens come a second time."""
    tokens = np.asarray(written, dtype=np.int64)
    if len(tokens) < run:
        return tokens[:0]
    runs = sliding_window_view(tokens, run)  # [N, run]
    begun = (runs[:, :-1] == tokens[len(tokens) - run + 1 :]).all(1)
    return np.asarray(runs[begun, -1])
