"""Sources to clean documents, a batch at a time: composed (NFC), no duplicates, no evaluation items, split decided."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

import numpy as np

from bothways.corpus.duplicates import Seen, copies, hash_documents, in_validation
from bothways.corpus.exclude import Exclusion
from bothways.corpus.manifest import SourceCount
from bothways.corpus.options import PrepareOptions
from bothways.corpus.readers import Reader, refuse
from bothways.corpus.sources import Source

_BATCH = 1 << 20  # characters in a batch, but for one longer document


@dataclass(frozen=True, slots=True)
class Documents:
    """D different documents of one source.

    texts   composed, not empty
    hashes  [D] uint64
    bytes   [D] int64, of UTF-8
    held    [D] bool; True: for the validation split
    copies  [D] int64; how often it stands in its split
    """

    texts: list[str]
    hashes: np.ndarray
    bytes: np.ndarray
    held: np.ndarray
    copies: np.ndarray


@dataclass(slots=True)
class Cleaner:
    """Reads sources one after another, remembers the documents of all of them, and counts what it left out."""

    options: PrepareOptions
    exclusion: Exclusion | None
    counts: list[SourceCount] = field(default_factory=list)
    _seen: Seen = field(default_factory=Seen)
    _skipped: int = 0

    def read(self, sources: Iterable[Source]) -> Iterator[Documents]:
        """All documents of all sources that are to be used.

        Raises:
            DataError: a line that does not parse, unless the options say to skip it.
        """
        for source in sources:
            self._skipped = 0
            tally = dict.fromkeys(("documents", "bytes", "duplicates", "excluded", "unweighted"), 0)
            for texts in _batches(source.read(Reader(self.options, self._skip))):
                yield self._clean(texts, source.weight, tally)
            self.counts.append(SourceCount(name=source.name, weight=source.weight, skipped=self._skipped, **tally))

    def _skip(self, path: Path, line: int, why: str) -> None:
        if not self.options.skip_bad:
            refuse(path, line, why)
        self._skipped += 1

    def _clean(self, texts: list[str], weight: float, tally: dict[str, int]) -> Documents:
        encoded = [text.encode() for text in texts]
        hashes = hash_documents(encoded)
        sizes = np.array([len(text) for text in encoded], dtype=np.int64)
        use = self._seen.add(hashes)
        tally["documents"] += len(texts)
        tally["bytes"] += int(sizes.sum())
        tally["duplicates"] += int((~use).sum())
        if self.exclusion:
            clean = np.array(
                [not new or not self.exclusion.contains(text) for text, new in zip(texts, use, strict=True)]
            )
            tally["excluded"] += int((~clean).sum())
            use &= clean
        held = in_validation(hashes, self.options.validation)
        times = np.where(held, 1, copies(hashes, weight))
        tally["unweighted"] += int((use & (times == 0)).sum())
        use &= times > 0
        return Documents(list(compress(texts, use)), hashes[use], sizes[use], held[use], times[use])


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Composed texts in lists of about a million characters; empty ones are no documents."""
    batch: list[str] = []
    size = 0
    for text in texts:
        composed = unicodedata.normalize("NFC", text).strip("\n")
        if not composed.strip():
            continue
        batch.append(composed)
        size += len(composed)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
