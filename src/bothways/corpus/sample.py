"""The text that a tokenizer is trained on: all of the training documents, or a fixed share of them by their hash."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from bothways.corpus.documents import Documents


@dataclass(frozen=True, slots=True)
class TokenizerSample:
    """Texts in the order of their hashes; `bytes` of the `total` bytes there are."""

    texts: list[str]
    bytes: int
    total: int


def draw_sample(batches: Iterable[Documents], limit: int) -> TokenizerSample:
    """The training documents with the lowest ratio of hash to copies, as many as fit into `limit` bytes, at least one.

    The same documents in whatever order they come; those of more weight are likelier (priority sampling, Duffield et
    al. 2007).
    """
    kept: list[tuple[float, int, str]] = []  # a heap of (-ratio, bytes, text): the highest ratio first
    held = total = 0
    bar = inf  # the lowest ratio that was ever left out: nothing above it may come in
    for batch in batches:
        train = ~batch.held
        total += int(batch.bytes[train].sum())
        ratios = batch.hashes.astype(float) / batch.copies
        for place in (train & (ratios < bar)).nonzero()[0].tolist():
            if ratios[place] >= bar:
                continue
            held += int(batch.bytes[place])
            heapq.heappush(kept, (-float(ratios[place]), int(batch.bytes[place]), "\n".join(batch.sides[place])))
            while held > limit and len(kept) > 1:
                ratio, size, _ = heapq.heappop(kept)
                held, bar = held - size, -ratio
    return TokenizerSample([text for _, _, text in sorted(kept, reverse=True)], held, total)
