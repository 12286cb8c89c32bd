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
from bothways.corpus.lines import refuse_unasked
from bothways.corpus.manifest import SourceCount
from bothways.corpus.options import PrepareOptions
from bothways.corpus.readers import DocumentReader
from bothways.corpus.sources import Source

_BATCH = 1 << 20  # characters in a batch, but for one longer document


@dataclass(frozen=True, slots=True)
class Documents:
    """D different documents of one source.

    sides      the text of each, or the two texts of a pair; composed, not empty
    languages  of the documents, or of the two sides; none where none was named
    hashes     [D] uint64
    bytes      [D] int64, of UTF-8
    held       [D] bool; True: for the validation split
    copies     [D] int64; how often it stands in its split
    """

    sides: list[tuple[str, ...]]
    languages: tuple[str, ...]
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
    _tally: dict[str, int] = field(default_factory=dict)

    def read(self, sources: Iterable[Source]) -> Iterator[Documents]:
        """All documents of all sources that are to be used.

        Raises:
            DataError: a line that does not parse, unless the options say to skip it.
        """
        for source in sources:
            kinds = ("documents", "bytes", "duplicates", "excluded", "skipped", "unweighted")
            self._tally = dict.fromkeys(kinds, 0)
            reader = DocumentReader(self.options, self._skip)
            for batch in self._batches(source.read(reader)):
                yield self._clean(batch, source)
            told = SourceCount(name=source.name, weight=source.weight, languages=source.languages, **self._tally)
            self.counts.append(told)

    def _skip(self, path: Path, line: int, why: str) -> None:
        if not self.options.skip_bad:
            refuse_unasked(path, line, why)
        self._tally["skipped"] += 1

    def _batches(self, documents: Iterable[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
        """Composed documents in lists of about a million characters; one without text is none, and a pair with text on
        one side alone is counted as skipped."""
        batch: list[tuple[str, ...]] = []
        size = 0
        for sides in documents:
            composed = tuple(unicodedata.normalize("NFC", side).strip("\n") for side in sides)
            if not all(side.strip() for side in composed):
                self._tally["skipped"] += any(side.strip() for side in composed)
                continue
            batch.append(composed)
            size += sum(map(len, composed))
            if size >= _BATCH:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _clean(self, batch: list[tuple[str, ...]], source: Source) -> Documents:
        encoded = [[side.encode() for side in sides] for sides in batch]
        sizes = np.array([sum(map(len, sides)) for sides in encoded], dtype=np.int64)
        hashes = hash_documents([b"\0".join(sides) for sides in encoded])
        # The first side alone decides which split a pair is in: another translation of a sentence goes with the first.
        firsts = hash_documents([first for first, _ in encoded]) if source.paired else hashes
        held = in_validation(firsts, self.options.validation)
        times = np.where(held, 1, copies(hashes, source.weight))
        drawn, tally = times > 0, self._tally
        use = drawn.copy()
        use[drawn] = self._seen.add(hashes[drawn])  # what a weight leaves out may stand in another source
        tally["documents"] += len(batch)
        tally["bytes"] += int(sizes.sum())
        tally["unweighted"] += int((~drawn).sum())
        tally["duplicates"] += int((drawn & ~use).sum())
        if self.exclusion:
            contains = self.exclusion.contains
            clean = np.array([not new or not any(map(contains, sides)) for sides, new in zip(batch, use, strict=True)])
            tally["excluded"] += int((~clean).sum())
            use &= clean
        sides = list(compress(batch, use))
        return Documents(sides, source.languages, hashes[use], sizes[use], held[use], times[use])
