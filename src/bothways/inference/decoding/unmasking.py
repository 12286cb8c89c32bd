"""Says hidden words step by step: in every pass a few of them, which the next pass then sees.

One pass is fill's answer, every word guessed without regard to the others; as many passes as there are words reveal
one word a pass, each after all that are known by then (LLaDA, Nie et al. 2025, section 2.4). What is shown stays.

Letters: B rows, T tokens, D width, N hidden places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bothways.inference.decoding.options import GenerationOptions, GrowingText, Unmasking
from bothways.inference.decoding.sampling import Sampling
from bothways.inference.engine import LOGITS_AT_ONCE, Engine


class HiddenRow:
    """A row with [MASK]s in it, some of which are said in every pass.

    tokens  the row
    places  [N] where it still is hidden
    nats    [T] the log-probability of what was said, in the pass that said it; 0 where nothing was hidden
    """

    def __init__(self, tokens: np.ndarray, *, mask: int, stream: np.random.Generator, unmasking: Unmasking) -> None:
        self.tokens = tokens.copy()
        self.places = np.flatnonzero(tokens == mask)
        self.said: list[int] = []  # places, in the order in which they were said
        self.nats = np.zeros(len(tokens))
        self.stream = stream
        self._unmasking = unmasking
        count = len(self.places)
        steps = min(count, unmasking.steps or count)
        self._counts = [len(part) for part in np.array_split(self.places, steps)] if count else []

    def chances(self) -> np.ndarray:
        """[N] random numbers of 0..1, for one pass."""
        return self.stream.random(len(self.places))

    def keep(self, tokens: np.ndarray, nats: np.ndarray) -> None:
        """Of what a pass would say in the hidden places [N], this pass's part is said; the rest stays hidden."""
        confident = self._unmasking.order == "confidence"
        order = np.argsort(-nats, kind="stable") if confident else self.stream.permutation(len(nats))
        kept = order[: self._counts.pop(0)]
        self._say(kept, tokens[kept], nats[kept])

    def say_first(self, token: int, nats: float) -> None:
        """The first hidden place is said."""
        self._say(np.array([0]), np.array([token]), np.array([nats]))

    def _say(self, kept: np.ndarray, tokens: np.ndarray, nats: np.ndarray) -> None:
        self.said += self.places[kept].tolist()
        self.tokens[self.places[kept]] = tokens
        self.nats[self.places[kept]] = nats
        self.places = np.delete(self.places, kept)


Tell = Callable[[Engine, Sequence[HiddenRow], Sampling], None]
"""Says all hidden places of the rows."""


def unmask(engine: Engine, rows: Sequence[HiddenRow], sampling: Sampling) -> None:
    """Says all hidden places of the rows, which are read from all sides, or in the order in which they become known."""
    before, in_order = engine.trained.hidden == "before", "any-order" in engine.trained.decoding
    while waiting := [row for row in rows if len(row.places)]:
        for batch in engine.batches([len(row.tokens) for row in waiting]):
            some = [waiting[i] for i in batch]
            if in_order:
                states = _in_order(engine, some)
            else:
                states = engine.read([row.tokens for row in some], face="encoder")
            say(engine, states, some, sampling, before=before)


@torch.inference_mode()
def _in_order(engine: Engine, rows: Sequence[HiddenRow]) -> Tensor:
    """States [B, T, D] as an any-order model has them: the special tokens are known first, then what is shown, from
    left to right, then what was said, in that order; and each hidden place asks without seeing the others."""
    tokens, layout = engine.lay([row.tokens for row in rows], face="encoder")
    special = sorted(engine.tokenizer.vocabulary.special)
    step, group = np.zeros(tokens.shape, dtype=np.int32), np.zeros(tokens.shape, dtype=np.int32)
    for number, row in enumerate(rows):
        asked = np.isin(np.arange(len(row.tokens)), row.places)
        shown = ~np.isin(row.tokens, special) & ~asked
        shown[row.said] = False
        order = [*np.flatnonzero(shown).tolist(), *row.said]
        step[number, order] = 1 + np.arange(len(order))
        step[number, row.places] = 1 + len(order)
        group[number, row.places] = 1 + np.arange(len(row.places))
    turns, groups = (torch.from_numpy(column).to(tokens.device) for column in (step, group))
    layout = replace(layout, step=turns, group=groups)
    states: Tensor = engine.model.backbone(tokens, layout, engine.model.rule.dense(layout))
    return states


@torch.inference_mode()
def say(engine: Engine, states: Tensor, rows: Sequence[HiddenRow], sampling: Sampling, *, before: bool = False) -> None:
    """One pass: states [B, T, D] of the rows' tokens."""
    owner = np.repeat(np.arange(len(rows)), [len(row.places) for row in rows])  # [N]
    asked = np.concatenate([row.places for row in rows]) - before  # [N]
    hidden = states[torch.from_numpy(owner).to(states.device), torch.from_numpy(asked).to(states.device)]  # [N, D]
    chances = np.concatenate([row.chances() for row in rows])
    chunk = max(1, LOGITS_AT_ONCE // engine.model.config.vocabulary)
    tokens, nats = np.zeros(len(owner), dtype=np.int64), np.zeros(len(owner))
    for start in range(0, len(owner), chunk):
        part = slice(start, start + chunk)
        logits = engine.model.logits(hidden[part]).float()
        logits[:, engine.silent()] = -torch.inf
        tokens[part] = sampling(logits, chances[part])
        drawn = torch.from_numpy(tokens[part]).to(logits.device)[:, None]
        nats[part] = (logits.gather(1, drawn)[:, 0] - logits.logsumexp(-1)).cpu().numpy()
    for number, row in enumerate(rows):
        if len(row.places):
            row.keep(tokens[owner == number], nats[owner == number])


def write_masked(
    engine: Engine, texts: Sequence[GrowingText], options: GenerationOptions, *, tell: Tell | None = None
) -> None:
    """Continues texts by so many [MASK]s behind them; more than half of what the model reads is written in parts."""
    vocabulary, longest = engine.tokenizer.vocabulary, engine.model.config.length
    while growing := [text for text in texts if text.left]:
        rows, counts = [], []
        for text in growing:
            count = min(text.left, longest // 2)
            unmasking = options.unmasking(count)
            opening = len(text.opening)
            known = text.row(text.new)
            first = max(opening, len(known) - (longest - opening - count))
            shown = np.concatenate([known[:opening], known[first:]])
            whole = np.append(shown, np.full(count, vocabulary.mask))
            rows.append(HiddenRow(whole, mask=vocabulary.mask, stream=text.stream, unmasking=unmasking))
            counts.append(count)
        (tell or unmask)(engine, rows, options.sampling)
        for text, row, count in zip(growing, rows, counts, strict=True):
            text.write(row.tokens[-count:])
