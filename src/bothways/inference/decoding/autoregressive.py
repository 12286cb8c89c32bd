"""One token after the other, each predicted from those before it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from bothways.inference.decoding.next_token import Autoregressive, forbid, next_token
from bothways.inference.decoding.sampling import sample
from bothways.inference.decoding.sequence import RunningSequence
from bothways.inference.engine import Engine

AUTOREGRESSIVE = {
    "seq2seq": Autoregressive(bidirectional_prompt=True, encoder=True),
    "prefix": Autoregressive(bidirectional_prompt=True),
    "append-mask": Autoregressive(bidirectional_prompt=True, appends_mask=True, segments=(4, 5)),
    "pseudo-mask": Autoregressive(bidirectional_prompt=True, appends_mask=True),
    "target": Autoregressive(bidirectional_prompt=True, repeats_last=True),
    "decoder": Autoregressive(),
    "backward": Autoregressive(backward=True),
}
"""seq2seq      an encoder-decoder (Vaswani et al. 2017; BART, Lewis et al. 2020)
prefix       the prompt bidirectionally, then as GPT (T5's prefix LM, Raffel et al. 2020, section 3.2.1)
append-mask  UniLM (Dong et al. 2019, section 2.4): as its sequence-to-sequence rows are trained
pseudo-mask  the same without segments of its own (UniLM v2, Bao et al. 2020)
target       MASS (Song et al. 2019, section 3.3), its decoder fed with the source's last token first
decoder      GPT
backward     GPT from right to left
"""


class AutoregressiveDecoding:
    """Sequences that each get one token a step: the likeliest, or one that is sampled."""

    def __init__(
        self, engine: Engine, sequences: Collection[RunningSequence], rows: int, *, way: Autoregressive
    ) -> None:
        self._engine, self._way = engine, way
        self._next = next_token(engine, way, sequences, rows)
        self.room = self._next.room

    def join(self, sequences: Sequence[RunningSequence]) -> None:
        """Reads what new sequences are so far."""
        self._next.join(sequences, [one.row() for one in sequences])

    @torch.inference_mode()
    def step(self, sequences: Sequence[RunningSequence]) -> None:
        """Adds a token to each."""
        plain = self._next.logits.clone()
        forbid(self._engine, self._next.logits, sequences, [one.tokens for one in sequences], self._way)
        add_sampled(self._next.logits, sequences, plain)

    def advance(self, sequences: Sequence[RunningSequence], rows: Sequence[int]) -> None:
        """Those that stay, which stood in these rows, read their newest token."""
        self._next.select(rows)
        self._next.add(np.array([one.tokens[-1] for one in sequences], dtype=np.int64))


def add_sampled(logits: Tensor, sequences: Sequence[RunningSequence], plain: Tensor) -> None:
    """Adds to every sequence the token sampled from its row of the logits [B, V], with its log-probability by the
    `plain` ones; several rows are several tokens."""
    uniforms = np.array([one.random.random() for one in sequences])
    tokens, logprobs = sample(logits, [one.options.sampling for one in sequences], uniforms, plain=plain)
    for one, token, logprob in zip(sequences, tokens.tolist(), logprobs.tolist(), strict=True):
        one.add(token, logprob)
