"""Our shards' tokens in the shapes that the Trainer is given: grouped full rows, or a document a row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bothways.batch import Vocabulary

Features = dict[str, list[int]]


def full_rows(tokens: np.ndarray, vocabulary: Vocabulary, length: int) -> list[Features]:
    """Grouped text, as the Trainer's examples make it: all documents end to end, cut every `length` tokens."""
    return [features(row, vocabulary) for row in tokens[: len(tokens) // length * length].reshape(-1, length)]


def documents(tokens: np.ndarray, vocabulary: Vocabulary, length: int) -> list[np.ndarray]:
    """One document a row, [CLS] ... [SEP], cut at `length`; shortest first."""
    whole = np.split(tokens, np.flatnonzero(tokens == vocabulary.cls)[1:])
    cut = [row if len(row) <= length else np.append(row[: length - 1], vocabulary.sep) for row in whole]
    return sorted(cut, key=len)


def spread(rows: Sequence[np.ndarray], count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """`count` of them, evenly from the shortest to the longest and shuffled: short samples, but no lucky ones."""
    places = (np.arange(count) + rng.random()) * len(rows) / count
    return [rows[int(place)] for place in rng.permutation(places)]


def features(row: np.ndarray, vocabulary: Vocabulary) -> Features:
    """As a tokenizer told to return_special_tokens_mask hands it over."""
    special = np.isin(row, sorted(vocabulary.special))
    return {"input_ids": row.tolist(), "special_tokens_mask": special.astype(int).tolist()}
