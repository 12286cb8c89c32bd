"""How a stream of shards is cut: lengths of documents, words, which tokens are common.

Letters: D documents, V tokens of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bothways.corpus.shards import Shards, Stream

AT_ONCE = 1 << 22  # tokens in memory


@dataclass(frozen=True, slots=True)
class Counts:
    """Of a stream, or of its beginning.

    lengths  [D] tokens of each document, specials included
    words    how many begin
    text     tokens that are text
    tokens   [V] how often each stands there
    """

    lengths: np.ndarray
    words: int
    text: int
    tokens: np.ndarray

    def padded(self, length: int) -> float:
        """The share of a row that would be padding, were every document alone in rows of this length."""
        rows = np.ceil(self.lengths / length)
        return float(1 - self.lengths.sum() / (rows.sum() * length))


def count(shards: Shards, stream: Stream, *, at_most: int | None = None) -> Counts:
    """Reads all of it a part at a time, or the whole documents among its first `at_most` tokens.

    Raises:
        DataError: a block that is not what was written.
    """
    is_text, begins = shards.vocabulary.text_table(), [np.empty(0, dtype=np.int64)]
    words, tokens = 0, np.zeros(shards.vocabulary.size, dtype=np.int64)
    end = min(stream.token_count, at_most or stream.token_count)
    for start in range(0, end, AT_ONCE):
        some, starts = stream.read(start, min(start + AT_ONCE, end))
        begins.append(np.flatnonzero(some == shards.vocabulary.cls) + start)
        text = is_text[some]
        words += int((starts & text).sum())
        tokens += np.bincount(some[text], minlength=len(tokens))
    whole = np.array([stream.token_count] if end == stream.token_count else [], dtype=np.int64)
    lengths = np.diff(np.concatenate([*begins, whole]))
    return Counts(lengths=lengths, words=words, text=int(tokens.sum()), tokens=tokens)


def by_length(lengths: np.ndarray) -> dict[int, int]:
    """{1, 2, 4, 8, ...: how many are as long or longer, and shorter than the next}, from the first that has any."""
    edges = 2 ** np.arange(0, int(np.log2(max(1, lengths.max(initial=1)))) + 2)
    found = np.histogram(lengths, edges)[0]
    first = int(np.flatnonzero(found)[0]) if found.any() else 0
    return dict(zip(edges[first:-1].tolist(), found[first:].tolist(), strict=True))


def summary(shards: Shards, counts: Counts) -> dict[str, Any]:
    """What a report says of shards, as JSON."""
    train, sources = shards.manifest.train, shards.manifest.sources
    return {
        "tokens": train.token_count,
        "documents": train.documents,
        "held_out": {
            "tokens": shards.manifest.validation.token_count,
            "documents": shards.manifest.validation.documents,
        },
        "vocabulary": shards.vocabulary.size,
        "bytes_per_token": train.bytes_per_token,
        "tokens_per_word": counts.text / max(1, counts.words),
        "unknown": train.unknown / max(1, train.token_count),
        "read": sum(source.documents for source in sources),
        "duplicates": sum(source.duplicates for source in sources),
        "lengths": by_length(counts.lengths),
        "median_length": int(np.median(counts.lengths)) if len(counts.lengths) else 0,
        "longest": int(counts.lengths.max(initial=0)),
    }
