"""Predicts hidden tokens step by step: in every pass a few of them, which the next pass then sees.

One pass is fill's answer, every token predicted without regard to the others; as many passes as there are tokens reveal
one a pass, each after all that are known by then (LLaDA, Nie et al. 2025, section 2.4). What is shown stays.

Letters: B rows, T tokens, D width, N hidden places.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bothways.inference.decoding.options import Unmasking
from bothways.inference.decoding.sampling import sample
from bothways.inference.decoding.sequence import RunningSequence
from bothways.inference.engine import LOGITS_AT_ONCE, Engine


class MaskedRow:
    """A row with [MASK]s in it, some of which are revealed in every pass.

    tokens    the row
    places    [N] where it still is hidden
    revealed  the places that were hidden, in the order in which they became known
    logprobs  [T] the log-probability of a token in the pass that revealed it; 0 where nothing was hidden
    """

    def __init__(self, tokens: np.ndarray, *, mask: int, random: np.random.Generator, unmasking: Unmasking) -> None:
        self.tokens = tokens.copy()
        self.places = np.flatnonzero(tokens == mask)
        self.revealed: list[int] = []
        self.logprobs = np.zeros(len(tokens))
        self.random = random
        self.unmasking = unmasking
        count = len(self.places)
        steps = min(count, unmasking.steps or count)
        self._counts = [len(part) for part in np.array_split(self.places, steps)] if count else []

    def keep(self, tokens: np.ndarray, logprobs: np.ndarray) -> None:
        """Of what a pass predicts in the hidden places [N], this pass's part is revealed; the rest stays hidden."""
        confident = self.unmasking.order == "confidence"
        order = np.argsort(-logprobs, kind="stable") if confident else self.random.permutation(len(logprobs))
        kept = order[: self._counts.pop(0)]
        self.reveal(kept, tokens[kept], logprobs[kept])

    def reveal(self, kept: np.ndarray, tokens: np.ndarray, logprobs: np.ndarray) -> None:
        """Those of the hidden places that these [K] numbers count become tokens [K]."""
        self.revealed += self.places[kept].tolist()
        self.tokens[self.places[kept]] = tokens
        self.logprobs[self.places[kept]] = logprobs
        self.places = np.delete(self.places, kept)


Fill = Callable[[Engine, Sequence[MaskedRow]], None]
"""Reveals the hidden places of rows."""


def unmask(engine: Engine, rows: Sequence[MaskedRow]) -> None:
    """Reveals all hidden places of the rows, which are read bidirectionally, or in the order in which they become
    known."""
    before, in_order = engine.abilities.hidden == "before", "any-order" in engine.abilities.decoding
    while waiting := [row for row in rows if len(row.places)]:
        for batch in engine.batches([len(row.tokens) for row in waiting]):
            some = [waiting[i] for i in batch]
            if in_order:
                states = _in_order(engine, some)
            else:
                states = engine.read([row.tokens for row in some], face="encoder")
            reveal(engine, states, some, before=before)


def _in_order(engine: Engine, rows: Sequence[MaskedRow]) -> Tensor:
    """States [B, T, D] as an any-order model has them: the special tokens are known first, then what is shown, from
    left to right, then what was revealed, in that order; and each hidden place is a query that sees no other."""
    tokens, layout = engine.collate([row.tokens for row in rows], face="encoder")
    special = sorted(engine.tokenizer.vocabulary.special - {*engine.tokenizer.prompt})
    step, group = np.zeros(tokens.shape, dtype=np.int32), np.zeros(tokens.shape, dtype=np.int32)
    for number, row in enumerate(rows):
        hidden = np.isin(np.arange(len(row.tokens)), row.places)
        shown = ~np.isin(row.tokens, special) & ~hidden
        shown[row.revealed] = False
        order = [*np.flatnonzero(shown).tolist(), *row.revealed]
        step[number, order] = 1 + np.arange(len(order))
        step[number, row.places] = 1 + len(order)
        group[number, row.places] = 1 + np.arange(len(row.places))
    steps, groups = (torch.from_numpy(column).to(tokens.device) for column in (step, group))
    return engine.states(tokens, replace(layout, step=steps, group=groups))


@torch.inference_mode()
def reveal(engine: Engine, states: Tensor, rows: Sequence[MaskedRow], *, before: bool = False) -> None:
    """One pass: states [B, T, D] of the rows' tokens."""
    owner = np.repeat(np.arange(len(rows)), [len(row.places) for row in rows])  # [N]
    at = np.concatenate([row.places for row in rows]) - before  # [N]
    hidden = states[torch.from_numpy(owner).to(states.device), torch.from_numpy(at).to(states.device)]  # [N, D]
    uniforms = np.concatenate([row.random.random(len(row.places)) for row in rows])
    chunk = max(1, LOGITS_AT_ONCE // engine.model.config.vocabulary)
    tokens, logprobs = np.zeros(len(owner), dtype=np.int64), np.zeros(len(owner))
    samplings = [rows[number].unmasking.sampling for number in owner.tolist()]
    for start in range(0, len(owner), chunk):
        part = slice(start, start + chunk)
        logits = engine.logits(hidden[part])
        plain = logits.clone()
        logits[:, engine.suppressed({engine.writes.end} if engine.writes else ())] = -torch.inf
        tokens[part], logprobs[part] = sample(logits, samplings[part], uniforms[part], plain=plain)
    for number, row in enumerate(rows):
        if len(row.places):
            row.keep(tokens[owner == number], logprobs[owner == number])


def add_unmasked(
    engine: Engine,
    sequences: Sequence[RunningSequence],
    shown: Sequence[np.ndarray],
    counts: Sequence[int],
    *,
    fill: Fill,
) -> None:
    """Adds so many tokens to each sequence: [MASK]s behind what is shown of it, which `fill` reveals."""
    mask = engine.tokenizer.vocabulary.mask
    rows = [
        MaskedRow(
            np.append(known, np.full(count, mask)), mask=mask, random=one.random, unmasking=one.options.unmasking(count)
        )
        for one, known, count in zip(sequences, shown, counts, strict=True)
    ]
    fill(engine, rows)
    for one, row, count in zip(sequences, rows, counts, strict=True):
        for token, logprob in zip(row.tokens[-count:].tolist(), row.logprobs[-count:].tolist(), strict=True):
            one.add(token, logprob)


class UnmaskingDecoding:
    """Sequences that each get so many [MASK]s behind them a step, all of them revealed; more than half of what the
    model reads comes in parts."""

    room = sys.maxsize  # what there is no room for is not shown

    def __init__(self, engine: Engine, sequences: Collection[RunningSequence], rows: int, *, fill: Fill) -> None:
        self._engine, self._fill = engine, fill

    def join(self, sequences: Sequence[RunningSequence]) -> None:
        """Nothing is read before."""

    def step(self, sequences: Sequence[RunningSequence]) -> None:
        """Adds a part to each."""
        longest = self._engine.model.config.length
        room = [longest - len(one.row()) if self._engine.writes else 0 for one in sequences]  # beside the whole source
        shown = []
        counts = [
            min(one.remaining, own if own > 0 else longest // 2) for one, own in zip(sequences, room, strict=True)
        ]
        for one, count in zip(sequences, counts, strict=True):
            opening, known = len(one.opening), one.row()
            first = max(opening, len(known) - (longest - opening - count))
            shown.append(np.concatenate([known[:opening], known[first:]]))
        add_unmasked(self._engine, sequences, shown, counts, fill=self._fill)

    def advance(self, sequences: Sequence[RunningSequence], rows: Sequence[int]) -> None:
        """Nothing is kept."""
