"""So many words of a text, drawn evenly over its documents: what a budget in words is spent on.

A word is what stands between white space, and each ideograph is one; where `words` of the options is "jieba", what
jieba finds. Documents are those that `prepare` would use: composed, no duplicates, no evaluation items.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bothways.corpus.documents import Cleaner
from bothways.corpus.duplicates import hash_documents, in_validation
from bothways.corpus.exclude import Exclusion, read_items
from bothways.corpus.options import PrepareOptions
from bothways.corpus.sources import Source
from bothways.errors import DataError, UsageError
from bothways.files import whole_file
from bothways.text.characters import HAN, jieba_starts

_WORD = re.compile(rf"[{HAN}]|[^\s{HAN}]+")
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: the product's upper bits depend on all of a hash


@dataclass(frozen=True, slots=True)
class WordSample:
    """What was drawn: words and documents to train on, documents to hold out; words and documents there were."""

    words: int
    documents: int
    held_out: int
    words_there: int
    documents_there: int


def word_starts(text: str, words: str) -> np.ndarray:
    """[W] the characters at which words begin; `words` is that of the options.

    Raises:
        MachineError: jieba is not installed.
    """
    if words == "jieba":
        spaces = np.array([letter.isspace() for letter in text], dtype=bool)
        return np.flatnonzero(jieba_starts(text) & ~spaces)
    return np.array([found.start() for found in _WORD.finditer(text)], dtype=np.int64)


def draw_words(
    sources: Sequence[Source], options: PrepareOptions, *, count: int, out: Path, seed: int = 0
) -> WordSample:
    """Writes documents with `count` words to train on as a jsonl file, in the order of the sources.

    Documents are drawn by a hash of their text and the seed, from all sources alike, so in proportion; the last one is
    cut. The documents that `prepare` would hold out come along, all of them, and `prepare` of the file with the same
    options holds out the same; their words are not counted.

    Raises:
        DataError: there are fewer words, or what a preparation refuses.
        UsageError: a source with a weight or a language: a budget counts each text once.
        MachineError: it cannot be written, or jieba is asked for and not installed.
    """
    for source in sources:
        if source.weight != 1 or source.languages:
            raise UsageError(f"{source.name}: a budget in words counts each text once: leave weight and language out")
    exclusion = Exclusion(read_items(options.exclude)) if options.exclude else None
    places, sizes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for batch in Cleaner(options, exclusion).read(sources):
        train = ~batch.held
        places.append(_places(batch.hashes, seed)[train])
        texts = (text for (text,), mine in zip(batch.sides, train, strict=True) if mine)
        sizes.append(np.array([len(word_starts(text, options.words)) for text in texts], dtype=np.int64))
    place, size = np.concatenate(places), np.concatenate(sizes)
    if (there := int(size.sum())) < count:
        fewer = f", or spend fewer: --words {there}" if there else ""
        raise DataError(
            f"expected {count:,} words to train on, found {there:,} in {len(size):,} different documents. Bring more "
            f"text{fewer}"
        )
    order = np.argsort(place)
    upto = np.cumsum(size[order])
    last = int(np.searchsorted(upto, count))  # the document in which the budget ends
    bar, left = place[order[last]], count - int(upto[last] - size[order[last]])
    documents = held = short = 0
    with whole_file(out) as file:
        for batch in Cleaner(options, exclusion).read(sources):
            for (text,), at, holds in zip(batch.sides, _places(batch.hashes, seed), batch.held, strict=True):
                if not holds and at > bar:
                    continue
                if not holds and at == bar:
                    text, kept = _cut(text, left, options)
                    short = left - kept
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                documents, held = documents + (not holds), held + bool(holds)
    return WordSample(count - short, documents, held, there, len(size))


def _places(hashes: np.ndarray, seed: int) -> np.ndarray:
    """[D] uint64: where each document stands in the order in which they are drawn."""
    return (hashes ^ np.uint64(seed)) * _SPREAD


def _cut(text: str, count: int, options: PrepareOptions) -> tuple[str, int]:
    """The beginning of a text and its words: `count`, or a few less where that much would be held out, by its hash."""
    starts = word_starts(text, options.words)
    ends = [*starts[1:].tolist(), len(text)]
    for kept in range(count, 0, -1):
        cut = text[: ends[kept - 1]].rstrip() if kept < len(starts) else text
        if not in_validation(hash_documents([cut.encode()]), options.validation)[0]:
            return cut, kept
    return "", 0
