"""What is drawn: words by frequency, windows, negatives; every word once, no window over a document's edge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.word_vectors import batches as module
from bothways.word_vectors.batches import Batches
from bothways.word_vectors.sampling import Windows, keep_probabilities, noise
from bothways.word_vectors.words import WordCounts, WordText


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 4), st.randoms(use_true_random=False))
def test_windows_are_those_of_the_definition(lengths: list[int], window: int, random: st.random) -> None:
    documents = np.repeat(np.arange(len(lengths)), lengths)
    count = len(documents)
    reaches = [random.randint(1, window) for _ in range(count)]
    context, mirror = Windows(count + 3, window)(documents, np.array(reaches))
    sees = [
        [j for j in range(count) if 0 < abs(i - j) <= reaches[i] and documents[i] == documents[j]] for i in range(count)
    ]
    seen_by = [[i for i in range(count) if j in sees[i]] for j in range(count)]
    for bags, expected in ((context, sees), (mirror, seen_by)):
        cut = np.split(bags.places, np.cumsum(bags.sizes)[:-1])
        assert [bag.tolist() for bag in cut] == expected


def test_frequent_words_are_kept_by_word2vecs_formula() -> None:
    counts = np.array([900, 90, 9, 1])
    kept = keep_probabilities(counts, 1e-2)
    share = counts / 1000
    assert kept == pytest.approx(np.minimum(1, (np.sqrt(share / 1e-2) + 1) * 1e-2 / share))
    assert kept[0] == pytest.approx(0.1165, abs=1e-4) and kept[2:].tolist() == [1, 1]
    assert keep_probabilities(counts, 0).tolist() == [1, 1, 1, 1]


def text(words: int, count: int) -> tuple[WordCounts, WordText]:
    rng = np.random.default_rng(0)
    numbers = rng.choice(words, count, p=(share := 1 / np.arange(2, words + 2)) / share.sum()).astype(np.int32)
    found = WordCounts(tuple(f"w{i}" for i in range(words)), np.bincount(numbers, minlength=words))
    return found, WordText(numbers, np.sort(rng.integers(0, count // 50 + 1, count)).astype(np.int32))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CHUNK": 1000, "LARGEST": 256, "STEPS": 1, "NEGATIVES": 4}.items():
        monkeypatch.setattr(module, name, value)


def test_every_word_is_read_once_in_order() -> None:
    words, given_text = text(50, 3210)
    drawn = list(Batches(words, window=3, negative=5, sample=0)(given_text, (7, 0)))
    assert np.concatenate([batch.words for _, batch in drawn]).tolist() == given_text.words.tolist()
    assert [len(batch.words) for _, batch in drawn] == [256] * 12 + [138]
    assert [done for done, _ in drawn] == sorted(done for done, _ in drawn) and drawn[-1][0] == 3210
    for _, batch in drawn:
        assert batch.weight * batch.negatives.shape[1] == 5
        assert batch.negatives.shape in {(8, 4), (1, 20)}  # the rest of the text has as many negatives a word


def test_draws_are_a_function_of_the_key() -> None:
    words, given_text = text(50, 3000)
    batches = Batches(words, window=3, negative=5, sample=1e-2)

    def draw(*key: int) -> list[int]:
        return [
            n for _, b in batches(given_text, key) for part in (b.words, b.negatives) for n in part.flatten().tolist()
        ]

    assert draw(1, 0) == draw(1, 0)
    assert draw(1, 0) != draw(1, 1) and draw(1, 0) != draw(2, 0)


def test_draws_have_their_distributions() -> None:
    words, given_text = text(20, 60_000)
    batches = Batches(words, window=4, negative=5, sample=1e-2)
    drawn = [batch for _, batch in batches(given_text, (0, 0))]
    kept = np.bincount(np.concatenate([batch.words for batch in drawn]), minlength=20)
    expected = words.counts * keep_probabilities(words.counts, 1e-2)
    assert np.abs(kept - expected).max() < 5 * np.sqrt(expected.max())
    negatives = np.bincount(np.concatenate([batch.negatives.flatten() for batch in drawn]), minlength=20)
    expected = noise(words.counts) * negatives.sum()
    assert noise(words.counts) == pytest.approx(words.counts**0.75 / (words.counts**0.75).sum())
    assert np.abs(negatives - expected).max() < 5 * np.sqrt(expected.max())


def test_how_often_rows_move_is_counted() -> None:
    words, given_text = text(9, 700)
    batches = Batches(words, window=3, negative=5, sample=0)
    for _, batch in batches(given_text, (0,)):
        stands = np.bincount(batch.words, minlength=9)
        a_negative = batch.weight * len(batch.words) / len(batch.negatives)  # stands for so many of word2vec's
        moved = stands + a_negative * np.bincount(batch.negatives.flatten(), minlength=9)
        assert batch.stands.flatten().tolist() == stands[batch.words].tolist()
        assert batch.moved.flatten().numpy() == pytest.approx(moved[batch.words])
        assert batch.pushed[..., 0].numpy() == pytest.approx(moved[batch.negatives])


def test_a_small_text_has_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", 100)
    words, _ = text(50, 5000)
    sizes = [Batches(words, window=3, negative=5, sample=0, readings=readings).size for readings in (1, 2, 3, 90)]
    assert sizes == [64, 96, 128, 256]
