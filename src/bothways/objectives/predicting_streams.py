"""Objectives with predicting streams: queries, laid behind the text, that see a part of it: any_order, bang.

Letters: T tokens in a row, N queries, S = T + N tokens with scaffolding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bothways.batch import Row, Target, Vocabulary
from bothways.errors import UsageError
from bothways.model import Abilities
from bothways.objectives.arrangements import with_scaffold
from bothways.objectives.corruptions import cut
from bothways.objectives.mixture import mixture
from bothways.objectives.objective import TARGET, About, Corrupted, Objective
from bothways.objectives.predictions import behind_row, by_scaffold
from bothways.visibility import Layout, ahead, ordered, places, text_key

STREAMS_AT_MOST = 64


@dataclass(frozen=True)
class AnyOrder:
    """The text in a random order, one for each document; the last `share` of it are targets.

    `part` [T] is a token's turn, 1, 2, ...; 0 for a document's first token, [CLS], which is known at first.
    """

    vocabulary: Vocabulary
    share: float

    def __call__(self, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
        """The row, whose words become known in a random order, and a query behind it for each."""
        eligible = np.flatnonzero(row.following)  # what a causal model predicts, so that the loss bounds the same
        document = row.document[eligible]
        order = np.lexsort((rng.random(len(eligible)), document))
        counts = np.bincount(document, minlength=1)
        turn = np.zeros(len(row), dtype=np.int32)
        turn[eligible[order]] = 1 + places(document[order])
        last = counts - np.ceil(self.share * counts - 1e-9).astype(np.int64)  # turns that are no targets
        chosen = np.zeros(len(row), dtype=bool)
        chosen[eligible] = turn[eligible] > last[document]
        queries = np.full(np.count_nonzero(chosen), self.vocabulary.mask, dtype=row.tokens.dtype)
        return Corrupted(row, np.concatenate([row.tokens, queries]), chosen, turn, weight=1 / self.share)


def any_order(vocabulary: Vocabulary, *, share: float = 1.0) -> Objective:
    """The word whose turn it is, in a random order of the words, given those before it in that order: by a query behind
    the text, which stands in the word's place and sees the words of earlier turns. Here a is given, the order is
    c b d e f, and the last two turns are targets (share=0.4):

    reads     a b c d e f _ _
    position  0 1 2 3 4 5 4 5
    step      0 2 1 3 4 5 4 5
    group     0 0 0 0 0 0 1 1
    predicts  . . . . . . e f
    sees      1 0 0 0 0 0 0 0
              1 1 1 0 0 0 0 0
              1 0 1 0 0 0 0 0
              1 1 1 1 0 0 0 0
              1 1 1 1 1 0 0 0
              1 1 1 1 1 1 0 0
              1 1 1 1 0 0 1 0
              1 1 1 1 1 0 0 1

    Raises:
        UsageError: a share out of range.
    """
    if not 0 < share <= 1:
        raise UsageError(f"share is how much of the order is predicted, above 0 and at most 1, got {share:g}")
    return Objective(
        name="any-order",
        corrupt=AnyOrder(vocabulary, share),
        arrange=with_queries,
        predict=by_scaffold,
        about=About(
            summary="the word whose turn it is in a random order, given those before it in that order",
            paper="XLNet (Yang et al. 2019, section 2.2)",
            teaches=Abilities(decoding={"unmask": 0, "any-order": 0}),
            differs="no recurrence between rows, no relative positions; all turns are predicted, and by XLNet only the "
            "last sixth (share=1/6)",
            bound=share == 1,
            pairs=TARGET,
        ),
    )


def with_queries(corrupted: Corrupted) -> Layout:
    """[S]: the text, known turn by turn, and behind it a query for each chosen token, in its place and of its turn."""
    at = np.flatnonzero(corrupted.chosen)
    return with_scaffold(corrupted, at, step=np.append(corrupted.part, corrupted.part[at]))


@dataclass(frozen=True)
class PredictingStreams:
    """Every document cut into a source and a target; behind the row stand the queries of the streams.

    `part` [T] is 0 in the source and 1, 2, ... in the target.
    """

    vocabulary: Vocabulary
    count: int

    def __call__(self, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
        """The row, cut into what is read and what is predicted, and behind it the queries of every stream."""
        part, weight = cut(row, rng)
        target = (part > 0) & (row.document >= 0)
        part = np.where(target, places(2 * row.document + target) + 1, 0).astype(np.int32)
        queries = np.full(len(_streams(part, self.count)[0]), self.vocabulary.mask, dtype=row.tokens.dtype)
        return Corrupted(row, np.concatenate([row.tokens, queries]), target, part, weight / self.count)


def _streams(part: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The place and the stream, 1 to `count`, of every query: stream s predicts the s-th target word and those after.

    part      0 0 1 2 3
    stream 1      x x x    each after all words before it
    stream 2        x x    each after all words but the last, for which a query of stream 1 stands
    """
    at = [np.flatnonzero(part >= stream) for stream in range(1, count + 1)]
    return np.concatenate(at), np.repeat(np.arange(1, count + 1), [len(places) for places in at])


def bang(vocabulary: Vocabulary, *, streams: float = 4, together: float = 0.0) -> Objective:
    """The word of a target, after a source read from all sides, from several streams of queries: in stream s, given all
    target words but the last s - 1, in whose places stand queries that also do not know them. Here two `streams`, and a
    cut after c:

    reads     a b c d e f _ _ _ _ _
    position  0 1 2 3 4 5 3 4 5 4 5
    step      0 0 0 1 2 3 1 2 3 1 2
    group     0 0 0 0 0 0 1 1 1 1 1
    predicts  . . . . . . d e f e f
    sees      1 1 1 0 0 0 0 0 0 0 0
              1 1 1 0 0 0 0 0 0 0 0
              1 1 1 0 0 0 0 0 0 0 0
              1 1 1 1 0 0 0 0 0 0 0
              1 1 1 1 1 0 0 0 0 0 0
              1 1 1 1 1 1 0 0 0 0 0
              1 1 1 0 0 0 1 0 0 0 0
              1 1 1 1 0 0 0 1 0 0 0
              1 1 1 1 1 0 0 0 1 0 0
              1 1 1 0 0 0 1 0 0 1 0
              1 1 1 1 0 0 0 1 0 0 1

    Stream 1 is autoregressive; the first query of each stream together are non-autoregressive; others lie between. So
    up to `streams` words can be written in a pass.

    together  share of the rows in which the whole target is predicted at once, non-autoregressively, as the model is
              fine-tuned to write in one pass

    Raises:
        UsageError: no number of streams, or no share.
    """
    if not 0 <= together <= 1:
        raise UsageError(f"together is the share of rows that are predicted at once, 0 to 1, got {together:g}")
    if streams != int(streams) or not 1 <= streams <= STREAMS_AT_MOST:
        raise UsageError(f"streams is how many words can be predicted at once, 1 to {STREAMS_AT_MOST}, got {streams:g}")
    count = int(streams)

    several = Objective(
        name="bang",
        corrupt=PredictingStreams(vocabulary, count),
        arrange=partial(with_streams, count=count),
        predict=partial(by_streams, count=count),
        rule=BANG,
        about=About(
            summary="the next word of a target and, in further streams, the words after it not knowing it",
            paper="BANG (Qi et al. 2021)",
            teaches=Abilities(decoding={"streams": count}, reads="all sides"),
            differs="its pretraining mask was never published: this rule is derived from what each stream may know; "
            "source and target are two parts of one document",
            pairs=TARGET,
        ),
    )
    if not together:
        return several
    about = replace(several.about, teaches=Abilities(decoding={"streams": STREAMS_AT_MOST}, reads="all sides"))
    corrupt = PredictingStreams(vocabulary, 1)
    at_once = replace(several, corrupt=corrupt, arrange=with_one_stream, predict=by_scaffold, about=about)
    shares = {several: 1 - together, at_once: together}
    return mixture({one: share for one, share in shares.items() if share}, name="bang", about=about)


BANG = ordered & (text_key | ~ahead)
"""Of the queries of its own step, which know as much of the text, a query sees those in places before its own."""


def with_streams(corrupted: Corrupted, *, count: int) -> Layout:
    """[S]: the text, the source known at first and the target word by word, and behind it the queries of the streams,
    whose step is how many words of the target they know."""
    at, stream = _streams(corrupted.part, count)
    return with_scaffold(corrupted, at, step=np.append(corrupted.part, corrupted.part[at] - stream + 1))


def with_one_stream(corrupted: Corrupted) -> Layout:
    """[S]: the same with one stream of queries, none of which knows a word of the target."""
    at = np.flatnonzero(corrupted.chosen)
    return with_scaffold(corrupted, at, step=np.append(corrupted.part, np.ones(len(at))))


def by_streams(corrupted: Corrupted, layout: Layout, *, count: int) -> tuple[Target, ...]:
    """A word of the target is predicted by its query in every stream."""
    return behind_row(corrupted, _streams(corrupted.part, count)[0])
