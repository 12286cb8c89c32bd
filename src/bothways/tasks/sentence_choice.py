"""Which sentences make up a summary: by scores, by the reference (the greedy oracle), the first ones, the central ones.

Letters: S sentences of a text, V different tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from bothways.tasks.rouge import ngram_f1, ngrams, rouge_tokens, unspaced

BLOCKED = (3, 6)
"""Tokens of a run that may not be repeated: words, and characters of scripts without spaces, some three words."""


def greedy_oracle(sentences: Sequence[str], references: Sequence[str], most: int) -> list[int]:
    """The numbers of at most so many sentences, in order: one by one that which adds most to ROUGE-1 F1 + ROUGE-2 F1 of
    all that were chosen, laid in the order of the text, until none adds anything (Nallapati et al. 2017, section 3). Of
    several references, those for the one that the sentences come nearest to; of equals the first.

    PreSumm counts different n-grams within sentences alone; this counts as rouge-score does.
    """
    tokens = [rouge_tokens(sentence) for sentence in sentences]
    found = [_greedy(tokens, rouge_tokens(reference), most) for reference in references]
    return max(found, key=lambda one: one[0])[1]


def _greedy(tokens: Sequence[Sequence[str]], gold: Sequence[str], most: int) -> tuple[float, list[int]]:
    """The score that is reached, and with which sentences."""
    words, pairs = ngrams(gold, 1), ngrams(gold, 2)
    chosen: list[int] = []
    best = 0.0
    for _ in range(most):
        found, number = best, -1
        for one in range(len(tokens)):
            if one in chosen or not tokens[one]:
                continue
            together = [token for i in sorted([*chosen, one]) for token in tokens[i]]
            score = ngram_f1(words, ngrams(together, 1)) + ngram_f1(pairs, ngrams(together, 2))
            if score > found:
                found, number = score, one
        if number < 0:
            break
        chosen.append(number)
        best = found
    return best, sorted(chosen)


def highest(sentences: Sequence[str], scores: Sequence[float] | np.ndarray, most: int, *, blocking: bool) -> list[int]:
    """The numbers of the sentences [S] of the highest scores, in order; of equals the first.

    Args:
        blocking: one that repeats a run of three words (six characters of Chinese) of those already chosen is left out
            (trigram blocking, Paulus et al. 2018, section 2.5).
    """
    chosen: list[int] = []
    seen: set[tuple[str, ...]] = set()
    for number in np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable").tolist():
        if len(chosen) == most:
            break
        runs = {*_runs(sentences[number])} if blocking else set()
        if not runs & seen:
            chosen.append(number)
            seen |= runs
    return sorted(chosen)


def _runs(sentence: str) -> Counter[tuple[str, ...]]:
    tokens = rouge_tokens(sentence)
    return ngrams(tokens, BLOCKED[unspaced(tokens)])


def centralities(texts: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """For each text, [S] how near each sentence is to the middle of all: the cosine with the mean of their TF-IDF
    vectors (the centroid of Radev et al. 2004); rare is what stands in few of the texts, of one in few sentences."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer=rouge_tokens)
    every = [sentence for text in texts for sentence in text]
    documents = ["\n".join(text) for text in texts] if len(texts) > 1 else every
    if not any(map(rouge_tokens, every)):
        return [np.zeros(len(text)) for text in texts]
    vectors = vectorizer.fit(documents).transform(every)  # [all sentences, V], of length one
    found, begin = [], 0
    for text in texts:
        own = vectors[begin : begin + len(text)]
        middle = np.asarray(own.mean(axis=0)).ravel()
        found.append(np.asarray(own @ middle).ravel() / max(float(np.linalg.norm(middle)), 1e-12))
        begin += len(text)
    return found
