"""More tokens for a tokenizer that others trained: the pairs of its tokens that one's own text joins most often.

For byte-level BPE this is its own training gone on with (Sennrich et al. 2016, algorithm 1): new tokens are new merges
behind the old. A WordPiece tokenizer takes the longest token that fits, so the same tokens serve it without merges.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterable

from tokenizers import Tokenizer as Engine

from bothways.errors import UsageError
from bothways.text.tokenizer import Tokenizer

Pair = tuple[str, str]
COMMON = 2
"""How often a pair must be met to become a token."""


def extend_tokenizer(tokenizer: Tokenizer, texts: Iterable[str], *, count: int) -> Tokenizer:
    """The tokenizer with at most `count` tokens more, numbered behind all it has; the old ones keep their numbers.

    Raises:
        UsageError: a kind of tokenizer that cannot be extended (unigram), or text in which no pair is met twice.
    """
    spec = tokenizer.spec()
    kind = spec["model"]["type"]
    if kind not in ("BPE", "WordPiece"):
        raise UsageError(f"expected a BPE or a WordPiece tokenizer to extend, got {kind}")
    prefix = spec["model"]["continuing_subword_prefix"] if kind == "WordPiece" else ""
    merges = _merges(tokenizer.words(texts), count=count, prefix=prefix)
    if not merges:
        raise UsageError("expected text in which tokens stand together more than once, got too little of it")
    known, number = spec["model"]["vocab"], tokenizer.vocabulary.size
    for token in spec["added_tokens"]:  # one that the model lacks would be numbered anew when it is loaded
        known.setdefault(token["content"], token["id"])
    for pair in merges:
        if (token := _joined(pair, prefix)) not in known:
            known[token] = number
            number += 1
    if kind == "BPE":
        spec["model"]["merges"] += [list(pair) for pair in merges]
    return tokenizer.moved_to(Engine.from_str(json.dumps(spec)), tokenizer.roles)


def _joined(pair: Pair, prefix: str) -> str:
    return pair[0] + pair[1].removeprefix(prefix)


def _merges(words: dict[tuple[str, ...], int], *, count: int, prefix: str) -> list[Pair]:
    """The commonest pair, again and again, each joined before the next is looked for; of equals the first in order."""
    spelt, times = [list(word) for word in words], list(words.values())
    counts: Counter[Pair] = Counter()
    where: dict[Pair, set[int]] = defaultdict(set)

    def change(number: int, sign: int) -> None:
        for pair in zip(spelt[number], spelt[number][1:], strict=False):
            counts[pair] += sign * times[number]
            if sign > 0:
                where[pair].add(number)
            changed.add(pair)

    changed: set[Pair] = set()
    for number in range(len(spelt)):
        change(number, 1)
    heap = [(-counts[pair], pair) for pair in counts]
    heapq.heapify(heap)
    found: list[Pair] = []
    while heap and len(found) < count:
        negative, best = heapq.heappop(heap)
        if -negative != counts[best]:
            continue  # counted anew since
        if -negative < COMMON:
            break
        found.append(best)
        joined = _joined(best, prefix)
        changed.clear()
        for number in where.pop(best):
            change(number, -1)
            spelt[number] = _join(spelt[number], best, joined)
            change(number, 1)
        for pair in changed - {best}:
            heapq.heappush(heap, (-counts[pair], pair))
    return found


def _join(word: list[str], pair: Pair, joined: str) -> list[str]:
    result: list[str] = []
    for token in word:
        if result and (result[-1], token) == pair:
            result[-1] = joined
        else:
            result.append(token)
    return result
