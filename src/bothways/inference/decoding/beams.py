"""Beam search: of many continuations, the likeliest that are found.

Letters: M live candidates of one sequence, K best tokens of each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from bothways.inference.decoding.next_token import Autoregressive, forbid, next_token
from bothways.inference.decoding.sequence import Finished, RunningSequence
from bothways.inference.engine import Engine


@dataclass(frozen=True, slots=True)
class Candidate:
    """A continuation: its tokens, and the sum of their log-probabilities in nats."""

    tokens: tuple[int, ...] = ()
    logprob: float = 0.0


@dataclass(slots=True)
class BeamSearch:
    """The candidates of one sequence: those that still grow, and those that are closed, with their scores.

    parents  of the live candidates: which of those before each goes on from
    """

    sequence: RunningSequence
    live: list[Candidate] = field(default_factory=lambda: [Candidate()])
    closed: list[tuple[float, Candidate]] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)

    @property
    def wide(self) -> int:
        """How many of the best next tokens are looked at: enough that as many as there are beams end no text."""
        return max(2, 1 + len(self.sequence.ends)) * self.sequence.slots

    def step(self, logprobs: np.ndarray, tokens: np.ndarray) -> None:
        """Goes on with the best: log-probabilities [M, K] and tokens [M, K], of every live candidate the K best.

        A candidate is closed if what ends a text is among the best after it; with as many closed ones as there are
        beams, the search is over.
        """
        beams = self.sequence.slots
        sums = np.array([candidate.logprob for candidate in self.live])[:, None] + logprobs  # [M, K]
        self.parents, live = [], list[Candidate]()
        for rank, at in enumerate(np.argsort(-sums, axis=None, kind="stable")[: self.wide].tolist()):
            parent, which = divmod(at, sums.shape[1])
            grown = Candidate((*self.live[parent].tokens, int(tokens[parent, which])), float(sums[parent, which]))
            if grown.logprob == -np.inf:
                break
            if grown.tokens[-1] in self.sequence.ends:
                if rank < beams:
                    self._close(grown)
            elif len(live) < beams:
                live.append(grown)
                self.parents.append(parent)
        if len(self.closed) >= beams:
            live = []
        elif live and len(live[0].tokens) == self.sequence.options.max_new_tokens:
            for candidate in live:
                self._close(candidate)
            live = []
        self.live = live
        if live:
            self.sequence.tokens = list(live[0].tokens)
        else:
            self._finish()

    def _close(self, candidate: Candidate) -> None:
        penalty = self.sequence.options.length_penalty
        score = candidate.logprob / ((5 + len(candidate.tokens)) / 6) ** penalty
        self.closed.append((score, candidate))

    def _finish(self) -> None:
        """The best closed candidate becomes what was generated, and the next best the others that were asked for."""
        ranked = sorted(self.closed, key=lambda scored: -scored[0])  # of equals the first
        best, *others = [self._candidate(beam) for _, beam in ranked[: self.sequence.options.num_return_sequences]]
        self.sequence.tokens = list(best.tokens)
        self.sequence.logprob, self.sequence.finish_reason = best.logprob, best.finish_reason
        self.sequence.others = tuple(others)

    def _candidate(self, beam: Candidate) -> Finished:
        ended = beam.tokens[-1] in self.sequence.ends
        return Finished(beam.tokens[: len(beam.tokens) - ended], beam.logprob, "stop" if ended else "length")


class BeamDecoding:
    """Sequences that are searched for, each with rows for its live candidates."""

    def __init__(
        self, engine: Engine, sequences: Collection[RunningSequence], rows: int, *, way: Autoregressive
    ) -> None:
        self._engine, self._way = engine, way
        self._next = next_token(engine, way, sequences, rows)
        self.room = self._next.room
        self._searches: dict[RunningSequence, BeamSearch] = {}

    def join(self, sequences: Sequence[RunningSequence]) -> None:
        """Reads the candidates that there are so far."""
        rows, owners = [], []
        for one in sequences:
            search = self._searches.setdefault(one, BeamSearch(one))
            rows += [one.row(candidate.tokens) for candidate in search.live]
            owners += [one] * len(search.live)
        self._next.join(owners, rows)

    @torch.inference_mode()
    def step(self, sequences: Sequence[RunningSequence]) -> None:
        """Every candidate grows by a token, or is closed."""
        logprobs = self._next.logits.log_softmax(-1)
        searches = [self._searches[one] for one in sequences]
        owners = [search.sequence for search in searches for _ in search.live]
        generated = [candidate.tokens for search in searches for candidate in search.live]
        forbid(self._engine, logprobs, owners, generated, self._way)
        best = logprobs.topk(min(max(search.wide for search in searches), logprobs.shape[-1]))
        values, tokens = best.values.double().cpu().numpy(), best.indices.cpu().numpy()
        first = 0
        for search in searches:
            rows, first = slice(first, first + len(search.live)), first + len(search.live)
            search.step(values[rows, : search.wide], tokens[rows, : search.wide])
            search.parents = [rows.start + parent for parent in search.parents]

    def advance(self, sequences: Sequence[RunningSequence], rows: Sequence[int]) -> None:
        """The candidates of those that stay read their newest token."""
        searches = [self._searches[one] for one in sequences]
        self._next.select([parent for search in searches for parent in search.parents])
        tokens = [candidate.tokens[-1] for search in searches for candidate in search.live]
        self._next.add(np.array(tokens, dtype=np.int64))
