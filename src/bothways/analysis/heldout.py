"""Bits per byte of documents that were held out, whatever pieces a model cuts them into; and what counting needs.

Letters: N documents.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bothways.analysis.probes import Probe
from bothways.corpus import Shards
from bothways.corpus.ngrams import NAMES, NGrams
from bothways.errors import DataError
from bothways.inference.loading import Loaded

NAME = "bits per byte"
MOST = 100_000
"""Pieces to read; whole documents from the beginning."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out documents of shards.

    rows      [CLS] and the text's pieces of each, as the shards' tokenizer cuts it
    left_out  documents with an unknown piece: their text is not in the shards
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
            DataError: no shards, or none with a whole held-out document.
        """
        shards = Shards.open(path)
        stream, vocabulary = shards.validation, shards.vocabulary
        pieces, _ = stream.read(0, min(MOST, stream.pieces))
        starts = np.flatnonzero(pieces == vocabulary.cls)
        ends = [*starts[1:], len(pieces)]
        if len(pieces) < stream.pieces and len(starts) > 1:  # the last one may be cut
            starts, ends = starts[:-1], ends[:-1]
        rows = [pieces[a:b][pieces[a:b] != vocabulary.sep] for a, b in zip(starts, ends, strict=True)]
        whole = [row for row in rows if len(row) > 1 and vocabulary.unk not in row]
        if not whole:
            raise DataError(f"{path}: expected held-out documents without unknown pieces, got none")
        texts = [shards.tokenizer.decode(row[1:].tolist()) for row in whole]
        return cls(path, shards, texts, whole, len(rows) - len(whole))

    def probe(self, nats: np.ndarray) -> Probe:
        """Of the nats [N] that each document costs."""
        size = np.array([len(text.encode()) for text in self.texts], dtype=np.float64)
        group = np.full(len(size), "")
        return Probe(NAME, nats / math.log(2), group, weight=size, left_out=self.left_out)

    def counting(self) -> dict[str, Probe]:
        """What n-grams need that are counted on the shards' training text."""
        train, _ = self.shards.train.read(0, self.shards.train.pieces)
        grams = NGrams.count(train, self.shards.vocabulary)
        whole, owner = np.concatenate(self.rows), np.repeat(np.arange(len(self.rows)), [len(row) for row in self.rows])
        return {name: self.probe(np.bincount(owner, grams.score(whole, order))) for order, name in enumerate(NAMES, 1)}


def bits_per_byte(loaded: Loaded, held_out: HeldOut) -> Iterator[Probe]:
    """Of a model that was taught to read from left to right; longer documents than it reads are read in parts."""
    if "decoder" in loaded.reader.trained.faces:
        yield held_out.probe(-loaded.score(held_out.texts))
