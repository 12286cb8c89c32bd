"""Writes a hidden run of tokens from left to right, as the decoder of MASS does (Song et al. 2019, section 3).

The text around the run is read once, from all sides, its [MASK]s seen by nobody behind it. Then each token is said by
the one before it, which stands in its own place.

Letters: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from bothways.errors import UsageError
from bothways.inference.decoding.sampling import Sampling
from bothways.inference.decoding.unmasking import HiddenRow
from bothways.inference.engine import Engine
from bothways.model import Cache
from bothways.visibility import Layout


def write_fragments(engine: Engine, rows: Sequence[HiddenRow], sampling: Sampling) -> None:
    """Says the hidden run of every row.

    Raises:
        UsageError: a row with hidden places apart from each other.
    """
    for row in rows:
        if len(row.places) and row.places[-1] - row.places[0] >= len(row.places):
            raise UsageError(
                "this model writes one run of hidden tokens, and there are several apart: write one [GAP], or [MASK]s "
                "one behind the other"
            )
    for batch in engine.batches([len(row.tokens) for row in rows]):
        _write(engine, [rows[i] for i in batch if len(rows[i].places)], sampling)


@torch.inference_mode()
def _write(engine: Engine, rows: Sequence[HiddenRow], sampling: Sampling) -> None:
    if not rows:
        return
    model, vocabulary = engine.model, engine.tokenizer.vocabulary
    tokens, layout = engine.lay([row.tokens for row in rows], face="encoder", left=True)
    layout = replace(layout, hidden=tokens == vocabulary.mask)
    counts = [len(row.places) for row in rows]
    cache = Cache(model.config, rows=len(rows), capacity=tokens.shape[1] + max(counts), like=model.table)
    engine.states_after(cache, tokens, layout)
    before = np.array([[row.places[0] - 1] for row in rows])  # [B, 1]
    fed = np.array([row.tokens[at] for row, at in zip(rows, before, strict=True)])
    for turn in range(max(counts)):
        position = torch.from_numpy((before + turn).astype(np.int32)).to(engine.device)
        zeros = torch.zeros_like(position)
        place = Layout(document=zeros, step=zeros + turn + 1, group=zeros, position=position)
        states = engine.states_after(cache, torch.from_numpy(fed).to(engine.device), place)
        logits = model.logits(states[:, -1]).float()
        logits[:, engine.silent()] = -torch.inf
        drawn = sampling(logits, np.array([row.stream.random() for row in rows]))
        nats = logits.log_softmax(-1).cpu().numpy()
        for number, (row, token, count) in enumerate(zip(rows, drawn.tolist(), counts, strict=True)):
            if turn < count:
                row.say_first(token, float(nats[number, token]))
        fed = np.asarray(drawn)[:, None]
