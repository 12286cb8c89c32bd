"""The text that a tokenizer is trained on: all of the training documents, or a fixed share of them by their hash."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from bothways.corpus.documents import Documents


@dataclass(frozen=True, slots=True)
class Sample:
    """Texts in the order of their hashes; `bytes` of the `total` bytes there are."""

    texts: list[str]
    bytes: int
    total: int


def draw_sample(batches: Iterable[Documents], limit: int) -> Sample:
    """The training documents with the lowest hash-to-copies ratio (priority sampling, Duffield et al. 2007), up to
    `limit` bytes: the same documents in whatever order they come, and those with more weight more often."""
    kept: list[tuple[float, str, int]] = []  # a heap, the highest ratio first
    held = total = 0
    bar = inf  # the lowest ratio left out
    for batch in batches:
        for text, number, size, times in zip(
            batch.texts, batch.hashes, batch.bytes, batch.copies * ~batch.held, strict=True
        ):
            if times == 0:
                continue
            total += int(size)
            ratio = float(number) / float(times)
            if ratio >= bar:
                continue
            heapq.heappush(kept, (-ratio, text, int(size)))
            held += int(size)
            while held > limit and len(kept) > 1:
                highest, _, size_out = heapq.heappop(kept)
                held -= size_out
                bar = -highest
    return Sample([text for _, text, _ in sorted(kept, reverse=True)], held, total)
