"""The n-gram baselines: true distributions, equal to the formula written out, and better the more they see."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bothways.batch import Vocabulary
from bothways.corpus.ngrams import BLOCK, NGrams, baselines, discounts
from bothways.errors import DataError

PAD, UNK, CLS, SEP, MASK = range(5)


def vocabulary(size: int) -> Vocabulary:
    return Vocabulary(size=size, pad=PAD, unk=UNK, cls=CLS, sep=SEP, mask=MASK)


def random_text(rng: np.random.Generator, size: int, documents: int) -> np.ndarray:
    """Documents of a skewed random source, so that some n-grams are common, some rare and most unseen."""
    shares = 1.0 / np.arange(1, size - 4) ** 1.3
    found = []
    for _ in range(documents):
        text = 5 + rng.choice(size - 5, size=rng.integers(1, 30), p=shares / shares.sum())
        found.append(np.concatenate([[CLS], text, [SEP]]))
    return np.concatenate(found)


def by_dictionary(text: np.ndarray, size: int, order: int) -> dict[tuple[int, ...], dict[int, float]]:
    """p(w | h) for every seen history of up to order - 1 tokens, by the formula in the module's docstring, in loops."""
    grams: dict[int, Counter[tuple[int, ...]]] = {n: Counter() for n in range(1, 4)}
    document: list[int] = []
    for token in text.tolist():
        document = [CLS] if token == CLS else [*document, token]
        for n in range(1, 4):
            if token != CLS and len(document) >= n:
                grams[n][tuple(document[-n:])] += 1
    model: dict[tuple[int, ...], dict[int, float]] = {}
    for n in range(1, order + 1):
        if n == order:
            adjusted: Counter[tuple[int, ...]] = grams[n]
        else:
            adjusted = Counter(gram[1:] for gram in grams[n + 1])
            adjusted.update({gram: count for gram, count in grams[n].items() if n > 1 and gram[0] == CLS})
        taken = discounts(np.array(list(adjusted.values())))
        following: dict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
        for gram, count in adjusted.items():
            following[gram[:-1]][gram[-1]] = count
        for history, counts in following.items():
            total = sum(counts.values())
            passed_on = sum(taken[min(count, 3)] for count in counts.values()) / total
            model[history] = {}
            for token in range(size):
                count = counts.get(token, 0)
                lower = 1 / (size - 2) if n == 1 else shortened(model, history[1:])[token]
                model[history][token] = (count - taken[min(count, 3)]) / total + passed_on * lower
    return model


def shortened(model: dict[tuple[int, ...], dict[int, float]], history: tuple[int, ...]) -> dict[int, float]:
    while history not in model:
        history = history[1:]
    return model[history]


@given(seed=st.integers(0, 10**6), size=st.integers(7, 40), order=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_equal_to_the_formula_in_loops(seed: int, size: int, order: int) -> None:
    rng = np.random.default_rng(seed)
    train, held_out = random_text(rng, size, 12), random_text(rng, size, 6)
    grams = NGrams.count(train, vocabulary(size))
    slow = by_dictionary(train, size, order)
    nats, guess = grams.score(held_out, order), grams.guess(held_out, order)
    document: tuple[int, ...] = ()
    for place, token in enumerate(held_out.tolist()):
        if token == CLS:
            document = (CLS,)
            assert nats[place] == 0 and guess[place] == -1
            continue
        given_history = shortened(slow, document[-(order - 1) :] if order > 1 else ())
        assert nats[place] == pytest.approx(-math.log(given_history[token]), abs=1e-9)
        assert given_history[guess[place]] == pytest.approx(
            max(p for w, p in given_history.items() if w not in (CLS, PAD)), abs=1e-12
        )
        document = (*document, token)


@given(seed=st.integers(0, 10**6), order=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_distributions_sum_to_one(seed: int, order: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(6, 60))
    grams = NGrams.count(random_text(rng, size, 20), vocabulary(size))
    support = [token for token in range(size) if token not in (PAD, CLS)]
    for history in ([CLS], [CLS, 5], [SEP, MASK], rng.integers(5, size, 2).tolist(), rng.integers(5, size, 1).tolist()):
        asked = np.concatenate([[PAD, *history, token] for token in support])
        last = grams.score(asked, order).reshape(len(support), -1)[:, -1]
        assert np.exp(-last).sum() == pytest.approx(1.0, abs=1e-9)


def test_history_does_not_cross_a_document() -> None:
    rng = np.random.default_rng(3)
    grams = NGrams.count(random_text(rng, 20, 40), vocabulary(20))
    alone = grams.score(np.array([CLS, 7, 8]), 3)
    after = grams.score(np.array([CLS, 5, 6, SEP, CLS, 7, 8]), 3)
    assert np.array_equal(alone, after[4:])
    padded = grams.score(np.array([CLS, 7, 8, PAD, PAD]), 3)
    assert np.array_equal(alone, padded[:3]) and not padded[3:].any()


def test_a_slice_from_the_middle_reads_lower_orders_first() -> None:
    rng = np.random.default_rng(4)
    text = random_text(rng, 20, 40)
    grams = NGrams.count(text, vocabulary(20))
    places = np.flatnonzero((text != CLS) & (np.arange(len(text)) > 30))[:9]
    whole, part = grams.score(text, 3), grams.score(text[places[0] :], 3)
    assert np.array_equal(whole[places[0] + 2 :], part[2:])
    assert part[0] != whole[places[0]]


@pytest.fixture(scope="module")
def words() -> tuple[np.ndarray, list[np.ndarray], Vocabulary]:
    """The language reference that comes with Python: words as tokens, every tenth topic held out, in rows of 64."""
    split = [text.split() for name, text in sorted(topics.items())]
    common = [word for word, _ in Counter(word for text in split for word in text).most_common(4000)]
    number = {word: place for place, word in enumerate(common, 5)}
    documents = [np.array([CLS, *(number.get(word, UNK) for word in text), SEP], dtype=np.uint16) for text in split]
    train = np.concatenate([document for place, document in enumerate(documents) if place % 10])
    held_out = np.concatenate(documents[::10])
    rows = [np.append(np.uint16(CLS), held_out[at : at + 63]) for at in range(0, len(held_out) - 62, 63)]
    return train, rows, vocabulary(4005)


def test_the_more_they_see_the_better(words: tuple[np.ndarray, list[np.ndarray], Vocabulary]) -> None:
    train, rows, vocab = words
    found = baselines(train, rows, vocab)
    uniform = math.log(vocab.size - 2)
    assert found["trigram"].nats < found["bigram"].nats < found["unigram"].nats < 0.8 * uniform
    assert found["trigram"].next_accuracy > found["bigram"].next_accuracy > found["unigram"].next_accuracy > 0.01
    fill = found["unigram"].fill_accuracy
    assert fill is not None and 0.01 < fill < 0.2
    assert found["bigram"].fill_accuracy is None
    assert found["trigram"].counted == found["trigram"].of == len(train)


def test_a_long_text_is_read_in_even_blocks_and_says_so(
    words: tuple[np.ndarray, list[np.ndarray], Vocabulary],
) -> None:
    train, rows, vocab = words
    long = np.tile(train, 4)
    cut = baselines(long, rows, vocab, at_most=2 * BLOCK + 5)["trigram"]
    assert (cut.counted, cut.of) == (2 * BLOCK, len(long))
    assert cut.nats > baselines(train, rows, vocab)["trigram"].nats
    small = NGrams.count(long, vocab, at_most=100)
    assert small.counted == 100
    assert np.isfinite(small.score(rows[0], 3)).all()


def test_discounts_follow_chen_and_goodman_and_fall_back() -> None:
    counts = np.repeat([1, 2, 3, 4], [1000, 300, 150, 90])
    share = 1000 / 1600
    assert discounts(counts) == pytest.approx(
        [0, 1 - 2 * share * 300 / 1000, 2 - 3 * share * 150 / 300, 3 - 4 * share * 90 / 150]
    )
    assert discounts(np.array([7, 9])).tolist() == [0, 0.5, 1.0, 1.5]


def test_one_token_documents_and_the_types_of_shards() -> None:
    text = np.array([CLS, 5, CLS, 6, CLS, 5], dtype=np.uint16)
    found = baselines(text, [np.array([CLS, 5, PAD])], vocabulary(7))
    assert found["trigram"].nats == found["bigram"].nats
    wide = baselines(text.astype(np.uint32), [np.array([CLS, 5, PAD])], vocabulary(7))
    assert wide == found


def test_errors_say_what_was_expected() -> None:
    vocab = vocabulary(10)
    with pytest.raises(DataError, match="at least one token after"):
        NGrams.count(np.array([CLS, CLS]), vocab)
    with pytest.raises(DataError, match="expected tokens from 0 to 9, got 2 to 99"):
        NGrams.count(np.array([CLS, 99]), vocab)
    with pytest.raises(DataError, match="held-out rows"):
        baselines(np.array([CLS, 5, SEP]), [], vocab)
