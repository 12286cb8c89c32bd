"""Bits per byte of documents that were held out, whatever tokens a model cuts them into; n-gram baselines beside it.

Paid for is every token of a document but its [CLS], the [SEP] that ends it too, as in training and in comparisons. A
model of others without a token that begins a text reads one that ends it before the first.

Letters: N documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bothways.corpus import Shards
from bothways.corpus.ngrams import NAMES, NGrams
from bothways.errors import DataError, UsageError
from bothways.evaluation.probes import Probe
from bothways.inference.language_model import LanguageModel
from bothways.inference.score import score
from bothways.training.evaluate import NATS_IN_A_BIT

NAME = "bits per byte"
FEWEST = 2
MOST = 100_000
"""Tokens to read, about: documents from all of the split, each cut to a half of them."""
AT_ONCE = 1 << 22  # tokens in memory, while documents are counted


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out documents of shards.

    rows      [CLS], the text's tokens and [SEP] of each, as the shards' tokenizer cuts it
    left_out  documents with an unknown token: their text is not in the shards
    """

    path: Path
    shards: Shards
    texts: list[str]
    rows: list[np.ndarray]
    left_out: int

    @classmethod
    def read(cls, path: Path) -> HeldOut:
        """
        Raises:
            DataError: no shards, or too few held-out documents.
        """
        shards = Shards.open(path)
        opens, closes = shards.vocabulary.cls, shards.vocabulary.sep
        rows = [
            np.concatenate([[opens], side[(side != opens) & (side != closes)], [closes]])
            for tokens in _documents(shards)
            for side in np.split(tokens, np.flatnonzero(tokens == closes))  # those of a pair are texts of their own
        ]
        rows = [row for row in rows if len(row) > 2]
        whole = [row for row in rows if shards.vocabulary.unk not in row]
        if len(whole) < FEWEST:
            raise DataError(f"{path}: expected {FEWEST} held-out documents or more, got {len(whole)}")
        texts = [shards.tokenizer.decode(row[1:-1].tolist()) for row in whole]
        return cls(path, shards, texts, whole, len(rows) - len(whole))

    def probe(self, nats: np.ndarray, item: np.ndarray) -> Probe:
        """Of the nats [M] that the documents of these numbers cost."""
        size = np.array([len(self.texts[i].encode()) for i in item], dtype=np.float64)
        left_out = self.left_out + len(self.texts) - len(item)
        return Probe(NAME, item, nats / NATS_IN_A_BIT, np.full(len(size), ""), weight=size, left_out=left_out)

    def counting(self) -> dict[str, Probe]:
        """Of n-grams that are counted on the shards' training text."""
        grams = NGrams.count(self.shards.train, self.shards.vocabulary)
        whole, owner = np.concatenate(self.rows), np.repeat(np.arange(len(self.rows)), [len(row) for row in self.rows])
        return {
            name: self.probe(np.bincount(owner, grams.score(whole, order)), np.arange(len(self.rows)))
            for order, name in enumerate(NAMES, 1)
        }


def bits_per_byte(loaded: LanguageModel, held_out: HeldOut) -> Iterator[Probe]:
    """Of a model that was taught to read from left to right; longer documents than it reads are read in parts.
    Documents with a token that is unknown to its own tokenizer are left out: it need not predict them.

    Raises:
        DataError: too few are left.
        UsageError: nothing stands before a text, and no token that could is named: its first token could not be paid.
    """
    if "decoder" not in loaded.engine.abilities.faces:
        return
    own = loaded.engine.tokenizer
    if not loaded.engine.around(closed=False)[0] and not {own.vocabulary.cls, *own.vocabulary.ends} - {-1}:
        raise UsageError(
            "expected a token that begins or ends a text, to stand before its first one for bits per byte; the model's "
            "files name none: write eos_token into its tokenizer_config.json, or leave out the held-out text"
        )
    item = np.flatnonzero([own.vocabulary.unk not in own.encode(text) for text in held_out.texts])
    if len(item) < FEWEST:
        raise DataError(
            f"{held_out.path}: expected {FEWEST} documents or more that the model's tokenizer can represent"
        )
    yield held_out.probe(-score(loaded.engine, [held_out.texts[i] for i in item], ended=True), item)


def _documents(shards: Shards) -> Iterator[np.ndarray]:
    """The held-out documents, evenly spread over all of the split where it has more than MOST tokens."""
    stream, cls = shards.validation, shards.vocabulary.cls
    parts = range(0, stream.token_count, AT_ONCE)
    found = [np.flatnonzero(stream.read(a, min(a + AT_ONCE, stream.token_count))[0] == cls) + a for a in parts]
    starts = np.concatenate([*found, np.empty(0, dtype=np.int64)])
    ends = np.append(starts[1:], stream.token_count)
    few = max(FEWEST, len(starts) * MOST // max(stream.token_count, 1))
    for i in np.unique(np.linspace(0, len(starts) - 1, min(few, len(starts))).round().astype(int)):
        end = min(ends[i], starts[i] + MOST // FEWEST)
        tokens, begins = stream.read(int(starts[i]), int(end))
        yield tokens if end == ends[i] else tokens[: np.flatnonzero(begins)[-1]]  # cut at a word
