"""An encoder reads a text with parts of it hidden, or a source; a decoder writes the text, the parts, or the target.

A sample is one row: what the encoder reads stands on side 0, what the decoder reads on side 1, and one rule says who
sees whom on both and across (`Layout.side`). Pairs are taught as they are: the source is read, the target written.

Letters: T tokens in a row, E tokens that the encoder reads, D that the decoder reads, S = E + D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, factorial

import numpy as np

from bothways.batch import Row, Sample, Target, Vocabulary
from bothways.errors import unknown
from bothways.model import Abilities, ModelConfig
from bothways.objectives.corruptions import Mask, Rate, Units, choose, number, rate_at
from bothways.objectives.masked import masking
from bothways.objectives.mass import Fragment
from bothways.objectives.objective import TARGET, About, Corrupted, Objective
from bothways.visibility import Layout, places

SPAN, LONGEST = 3.0, 10  # mean length of a hidden span (BART, section 2.2; T5, section 3.1.4), and where it is cut off
POISSON = tuple(exp(-SPAN) * SPAN**k / factorial(k) for k in range(1, LONGEST + 1))
SPANS = Units(lengths=tuple(chance / sum(POISSON) for chance in POISSON))
NOISE = ("infill", "spans", "mass")


def seq2seq(vocabulary: Vocabulary, *, noise: str = "infill", rate: Rate = 0.3) -> Objective:
    """A decoder writes what an encoder has read with a share `rate` of it hidden. Of pairs, the target. In the picture
    ^ is [CLS], with which the decoder begins, and b c are one span.

    noise  infill: in place of each hidden span stands one [MASK], and the whole text is written (BART);
           spans: the same, and the spans alone are written, each after a [MASK] (T5);
           mass: every token of one fragment shows [MASK], and the fragment is written (MASS)

    reads     a _ d e f ^ b c d e
    position  0 1 2 3 4 0 1 2 3 4
    step      0 0 0 0 0 1 2 3 4 5
    predicts  . . . . . b c d e f
    sees      1 1 1 1 1 0 0 0 0 0
              1 1 1 1 1 0 0 0 0 0
              1 1 1 1 1 0 0 0 0 0
              1 1 1 1 1 0 0 0 0 0
              1 1 1 1 1 0 0 0 0 0
              1 1 1 1 1 1 0 0 0 0
              1 1 1 1 1 1 1 0 0 0
              1 1 1 1 1 1 1 1 0 0
              1 1 1 1 1 1 1 1 1 0
              1 1 1 1 1 1 1 1 1 1

    Raises:
        UsageError: a rate out of range, or an unknown noise.
    """
    if noise not in NOISE:
        raise unknown("noise", noise, NOISE)
    mask = masking(vocabulary, rate=rate, words="tokens", replace="all-mask")
    return Objective(
        name="seq2seq",
        corrupt=Written(mask, vocabulary, noise),
        arrange=as_laid,
        predict=as_written,
        flops=flops,
        about=About(
            summary="an encoder-decoder: a text written from what is left of it, a target from its source",
            paper="BART (Lewis et al. 2020, section 2.2); T5 (Raffel et al. 2020, section 3.1.4) by noise=spans",
            teaches=Abilities(decoding={"seq2seq": 0}, reads="all sides"),
            differs="no empty spans and no sentences in another order (BART); one [MASK] for every span instead of "
            "numbered ones (T5)",
            pairs=TARGET,
        ),
    )


@dataclass(frozen=True)
class Written:
    """What is read and what is written of a row, laid one behind the other."""

    mask: Mask
    vocabulary: Vocabulary
    noise: str

    def __call__(self, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
        """The row as both sides have it; `part` [S] is the side."""
        written = np.flatnonzero(row.following & (row.document >= 0))
        if row.part is not None:
            source = np.flatnonzero((row.part == 0) & (row.document >= 0))
            return self._laid(row, source, row.tokens[source], self._runs(row, written), 1.0)
        rate = rate_at(self.mask.rate, progress)
        if self.noise == "mass":
            return self._fragment(row, rng, rate)
        eligible = np.flatnonzero(self.mask.text(row))
        unit = number(row, eligible, SPANS, rng)
        chosen = choose(unit, rate, rng)
        at, unit = eligible[chosen], unit[chosen]
        first = np.diff(unit, prepend=-1) != 0
        read = row.tokens.copy()
        read[at[first]] = self.vocabulary.mask
        kept = row.document >= 0
        kept[at[~first]] = False
        source = np.flatnonzero(kept)
        if self.noise == "infill":
            return self._laid(row, source, read[source], self._runs(row, written), 1.0)
        return self._laid(row, source, read[source], self._spans(row, at, first), 1 / rate)

    def _runs(self, row: Row, at: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """[(document, what is written of it)] of the places `at`."""
        return [(int(row.document[some[0]]), row.tokens[some]) for some in _by_document(row, at)]

    def _spans(self, row: Row, at: np.ndarray, first: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """The same of spans, each behind a [MASK]; `first` marks where they begin. [SEP] ends them."""
        found = []
        begins = np.zeros(len(row), dtype=bool)
        begins[at[first]] = True
        for some in _by_document(row, at):
            tokens = np.repeat(row.tokens[some], 1 + begins[some])
            tokens[np.flatnonzero(begins[some]) + np.arange(begins[some].sum())] = self.vocabulary.mask
            found.append((int(row.document[some[0]]), np.append(tokens, self.vocabulary.sep)))
        return found

    def _laid(
        self, row: Row, source: np.ndarray, read: np.ndarray, written: Sequence[tuple[int, np.ndarray]], weight: float
    ) -> Corrupted:
        """Tokens `read` [E] at the places `source` of the row, and behind them what a decoder reads to write: what it
        begins with, and every token but the last."""
        start = self.vocabulary.start
        fed = [np.concatenate([start, tokens[:-1]]) for _, tokens in written]
        document = np.repeat([number for number, _ in written], [len(one) for one in fed]).astype(np.int32)
        ends = np.cumsum([len(one) for one in fed], dtype=np.int64)
        at = [np.arange(end - len(tokens), end) for end, (_, tokens) in zip(ends, written, strict=True)]
        position = places(document)
        layout = _two_sided(row.document[source], document, places(row.document[source]), position, position + 1)
        labels = np.concatenate([tokens for _, tokens in written]) if written else np.zeros(0, dtype=np.int64)
        targets = Target("words", len(source) + _joined(at), labels, weight)
        return _corrupted(row, np.concatenate([read, *fed]), layout, targets)

    def _fragment(self, row: Row, rng: np.random.Generator, rate: float) -> Corrupted:
        """MASS: the decoder reads, in the place before each hidden token, the token that stands there."""
        at = Fragment(self.mask, rate).fragments(row, rng)
        read = row.tokens.copy()
        read[at] = self.vocabulary.mask
        hidden = np.zeros(len(row), dtype=bool)
        hidden[at] = True
        source, position = np.flatnonzero(row.document >= 0), places(row.document)
        step = places(row.document[at]) + 1
        layout = _two_sided(
            row.document[source], row.document[at], position[source], position[at - 1], step, hidden[source]
        )
        targets = Target("words", len(source) + np.arange(len(at)), row.tokens[at], 1 / rate)
        return _corrupted(row, np.concatenate([read[source], row.tokens[at - 1]]), layout, targets)


def as_laid(corrupted: Corrupted) -> Layout:
    """[S]: as the corruption laid both sides."""
    assert corrupted.layout is not None
    return corrupted.layout


def as_written(corrupted: Corrupted, layout: Layout) -> tuple[Target, ...]:
    """What the decoder writes."""
    return corrupted.also


def flops(config: ModelConfig, sample: Sample) -> float:
    """FLOPs of training on a sample, counted as `ModelConfig.flops_per_token` and `decoder_flops` do."""
    written = int(np.count_nonzero(sample.layout.side))
    read, predicted = len(sample) - written, sum(len(target.at) for target in sample.targets)
    encoder = read * config.flops_per_token(length=read, predicted=0.0)
    return encoder + config.decoder_flops(read=read, written=written, predicted=predicted)


def _corrupted(row: Row, tokens: np.ndarray, layout: Layout, target: Target) -> Corrupted:
    chosen = np.zeros(len(row), dtype=bool)
    return Corrupted(row, tokens.astype(row.tokens.dtype), chosen, layout.side, also=(target,), layout=layout)


def _two_sided(
    read: np.ndarray,
    written: np.ndarray,
    position: np.ndarray,
    own: np.ndarray,
    step: np.ndarray,
    hidden: np.ndarray | None = None,
) -> Layout:
    """Documents, positions and, of the decoder [D], steps of both sides, as one layout [S]."""
    side = np.repeat([0, 1], [len(read), len(written)])
    return Layout.of(
        document=np.append(read, written),
        step=np.append(np.zeros(len(read)), step),
        position=np.append(position, own),
        side=side,
        hidden=None if hidden is None else np.append(hidden, np.zeros(len(written), dtype=bool)),
    )


def _by_document(row: Row, at: np.ndarray) -> list[np.ndarray]:
    """Places in ascending order, those of each document together."""
    return [some for some in np.split(at, np.flatnonzero(np.diff(row.document[at])) + 1) if len(some)]


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
