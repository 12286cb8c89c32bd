"""Predicts a hidden run of tokens from left to right, as the decoder of MASS does (Song et al. 2019, section 3).

The text around the run is read once, bidirectionally, its [MASK]s seen by nobody behind it. Then each token is
predicted by the one before it, which stands in its own place.

Letters: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from bothways.errors import UsageError
from bothways.inference.decoding.sampling import sample
from bothways.inference.decoding.unmasking import MaskedRow
from bothways.inference.engine import Engine
from bothways.visibility import Layout


def fill_runs(engine: Engine, rows: Sequence[MaskedRow]) -> None:
    """Reveals the hidden run of every row.

    Raises:
        UsageError: a row with hidden places apart from each other.
    """
    for row in rows:
        if len(row.places) and row.places[-1] - row.places[0] >= len(row.places):
            raise UsageError(
                "this model predicts one run of hidden tokens, and there are several apart: write one [GAP], or "
                "[MASK]s one behind the other"
            )
    for batch in engine.batches([len(row.tokens) for row in rows]):
        if some := [rows[i] for i in batch if len(rows[i].places)]:
            _fill(engine, some)


@torch.inference_mode()
def _fill(engine: Engine, rows: Sequence[MaskedRow]) -> None:
    tokens, layout = engine.collate([row.tokens for row in rows], face="encoder")
    layout = replace(layout, hidden=tokens == engine.tokenizer.vocabulary.mask)
    counts = [len(row.places) for row in rows]
    cache = engine.new_cache(rows=len(rows), capacity=tokens.shape[1] + max(counts))
    cache.take(len(rows))
    engine.states(tokens, layout, cache=cache)
    before = np.array([[row.places[0] - 1] for row in rows])  # [B, 1]
    fed = np.array([row.tokens[at] for row, at in zip(rows, before, strict=True)])
    for turn in range(max(counts)):
        at = np.minimum(before + turn, engine.model.config.length - 1)  # rows that are done go on for the others' sake
        position = torch.from_numpy(at.astype(np.int32)).to(engine.device)
        zeros = torch.zeros_like(position)
        place = Layout(document=zeros, step=zeros + turn + 1, group=zeros, position=position)
        states = engine.states(torch.from_numpy(fed).to(engine.device), place, cache=cache)
        logits = engine.logits(states[:, -1])
        plain = logits.clone()
        logits[:, engine.suppressed()] = -torch.inf
        uniforms = np.array([row.random.random() for row in rows])
        chosen, logprobs = sample(logits, [row.unmasking.sampling for row in rows], uniforms, plain=plain)
        for number, row in enumerate(rows):
            if turn < counts[number]:
                row.reveal(np.array([0]), chosen[number], logprobs[number])
        fed = chosen[:, None]
