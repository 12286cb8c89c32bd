"""Beam search: of many ways to go on, the likeliest that are found.

Letters: M live candidates of one text, K best tokens of each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from bothways.inference.decoding.autoregressive import Autoregressive, NextToken
from bothways.inference.decoding.options import GenerationOptions, GrowingText
from bothways.inference.decoding.sampling import forbid_repeats
from bothways.inference.engine import Engine


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to go on: the tokens written, and the sum of their log-probabilities in nats."""

    tokens: tuple[int, ...] = ()
    nats: float = 0.0


@dataclass(slots=True)
class BeamSearch:
    """The candidates of one text: those that still grow, and those that are closed, with their scores."""

    text: GrowingText
    live: list[Candidate] = field(default_factory=lambda: [Candidate()])
    closed: list[tuple[float, Candidate]] = field(default_factory=list)

    def step(
        self, nats: np.ndarray, tokens: np.ndarray, *, ends: Collection[int], options: GenerationOptions
    ) -> list[int]:
        """Goes on with the best: log-probabilities [M, K] and tokens [M, K], of every live candidate the K best.

        A candidate is closed if what ends a text is among the best after it; with as many closed ones as there are
        beams, the search is over. Returns for each of the new live candidates the one it goes on from.
        """
        assert options.beams
        sums = np.array([candidate.nats for candidate in self.live])[:, None] + nats  # [M, K]
        parents: list[int] = []
        live: list[Candidate] = []
        for rank, at in enumerate(
            np.argsort(-sums, axis=None, kind="stable")[: max(2, 1 + len(ends)) * options.beams].tolist()
        ):
            parent, which = divmod(at, sums.shape[1])
            grown = Candidate((*self.live[parent].tokens, int(tokens[parent, which])), float(sums[parent, which]))
            if grown.nats == -np.inf:
                break
            if grown.tokens[-1] in ends:
                if rank < options.beams:
                    self._close(grown, options.length_penalty)
            elif len(live) < options.beams:
                live.append(grown)
                parents.append(parent)
        if len(self.closed) >= options.beams:
            live = []
        elif live and len(live[0].tokens) == self.text.limit:
            for candidate in live:
                self._close(candidate, options.length_penalty)
            live = []
        self.live = live
        return parents if live else []

    def _close(self, candidate: Candidate, penalty: float) -> None:
        score = candidate.nats / ((5 + len(candidate.tokens)) / 6) ** penalty
        self.closed.append((score, candidate))

    def finish(self, ends: Collection[int]) -> None:
        """The best closed candidate becomes what was written."""
        _, best = max(self.closed, key=lambda scored: scored[0])
        self.text.new = [token for token in best.tokens if token not in ends]
        self.text.ended = True


def search(engine: Engine, way: Autoregressive, texts: Sequence[GrowingText], options: GenerationOptions) -> None:
    """Writes all texts to their end."""
    searches = [BeamSearch(text) for text in texts if text.left]
    while growing := [one for one in searches if one.live]:
        _grow(engine, way, growing, options)
    for one in searches:
        one.finish(way.ends(engine.tokenizer.vocabulary))


@torch.inference_mode()
def _grow(engine: Engine, way: Autoregressive, searches: Sequence[BeamSearch], options: GenerationOptions) -> None:
    """Until none is live, or one outgrows the model."""
    assert options.beams
    ends, room = way.ends(engine.tokenizer.vocabulary), engine.model.config.length - way.asks
    silent, wide = engine.silent_onwards(ends), max(2, 1 + len(ends)) * options.beams
    rows, prompts = [], []
    for one in searches:
        one.text.forget(len(one.live[0].tokens), room)
        rows += [one.text.row(candidate.tokens) for candidate in one.live]
        prompts += [one.text.prompt] * len(one.live)
    most = max(one.text.limit - len(one.live[0].tokens) for one in searches)
    rounds = min(1 + room - max(map(len, rows)), most)
    told = NextToken(engine, way, rows, prompts=prompts, rounds=rounds)
    for number in range(rounds):
        nats = told.logits.log_softmax(-1)
        nats[:, silent] = -torch.inf
        written = (way.counted(one.text.begun, candidate.tokens) for one in searches for candidate in one.live)
        forbid_repeats(nats, written, options.no_repeat)
        best = nats.topk(min(wide, nats.shape[-1]))
        values, tokens = best.values.double().cpu().numpy(), best.indices.cpu().numpy()
        parents: list[int] = []
        first = 0
        for one in searches:
            rows_of = slice(first, first := first + len(one.live))
            if one.live:
                found = one.step(values[rows_of], tokens[rows_of], ends=ends, options=options)
                parents += [rows_of.start + parent for parent in found]
        if not parents or number == rounds - 1:
            return
        told.select(parents)
        told.add(np.array([candidate.tokens[-1] for one in searches for candidate in one.live]))
