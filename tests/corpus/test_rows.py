"""Rows: every token once an epoch, computed from their number alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.batch import Vocabulary
from bothways.corpus import Rows
from bothways.corpus.document_index import Table
from bothways.errors import DataError

VOCABULARY = Vocabulary(size=10_000, pad=0, unk=1, cls=2, sep=3, mask=4)


@dataclass
class Memory:
    """A stream in memory."""

    all: np.ndarray
    starts: np.ndarray
    name: str = "train"
    table: Table | None = None

    @property
    def token_count(self) -> int:
        return len(self.all)

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        assert 0 <= start <= stop <= len(self.all)
        return self.all[start:stop], self.starts[start:stop]


def stream(lengths: list[int]) -> Memory:
    """Documents of these many different tokens, each a word start when its number is even."""
    parts, number = [], 5
    for length in lengths:
        parts += [2, *range(number, number + length), 3]
        number += length
    tokens = np.array(parts, dtype=np.int32)
    return Memory(tokens, (tokens % 2 == 0) | (tokens < 5))


LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=12)


@given(
    lengths=LENGTHS, length=st.integers(2, 20), seed=st.one_of(st.none(), st.integers(0, 9)), epoch=st.integers(0, 3)
)
def test_an_epoch_holds_every_token_once(lengths: list[int], length: int, seed: int | None, epoch: int) -> None:
    text = stream(lengths)
    if text.token_count < length:
        return
    rows = Rows(text, VOCABULARY, length=length, seed=seed)
    epoch_rows = [rows[epoch * len(rows) + i] for i in range(len(rows))]
    found = Counter(token for row in epoch_rows for token in row.tokens.tolist() if token > 4 or token == 3)
    assert found == Counter(text.all[text.all != 2].tolist())
    for row in epoch_rows:
        assert row.tokens[0] == VOCABULARY.cls
        assert not ((row.tokens[:-1] == 2) & (row.tokens[1:] == 2)).any() or 0 in lengths


@given(lengths=LENGTHS, length=st.integers(2, 20), index=st.integers(0, 60))
def test_a_row_is_laid_as_the_contract_says(lengths: list[int], length: int, index: int) -> None:
    text = stream(lengths)
    if text.token_count < length:
        return
    row = Rows(text, VOCABULARY, length=length, seed=1)[index]
    assert row.tokens.dtype == row.document.dtype == np.int32
    assert row.word_starts.dtype == bool
    assert len(row.tokens) == len(row.document) == len(row.word_starts) == length
    real = row.document >= 0
    assert (np.diff(real.astype(int)) <= 0).all()  # padding only at the end
    assert (row.tokens[~real] == VOCABULARY.pad).all()
    assert row.document[~real].tolist() == [-1 - i for i in range((~real).sum())]
    assert row.document[real].tolist() == (np.cumsum(row.tokens[real] == 2) - 1).tolist()
    assert row.word_starts[row.tokens < 5].all()
    inside = np.flatnonzero(real & (row.tokens > 4))
    assert all(row.word_starts[i] == (row.tokens[i] % 2 == 0) or i == 1 for i in inside)


def test_the_picture_in_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bothways.corpus.rows._plan", lambda *_: (1, np.arange(3)))
    rows = Rows(stream([3, 2]), VOCABULARY, length=5, seed=0)
    assert [rows[i].tokens.tolist() for i in range(3)] == [[2, 5, 6, 7, 3], [2, 8, 9, 3, 0], [2, 0, 0, 0, 0]]
    assert [rows[i].document.tolist() for i in range(3)] == [[0, 0, 0, 0, 0], [0, 0, 0, 0, -1], [0, -1, -2, -3, -4]]


def test_a_row_is_a_function_of_its_number_alone() -> None:
    one, two = (Rows(stream([40, 7, 90]), VOCABULARY, length=16, seed=3) for _ in range(2))
    forwards = [one[i].tokens.tolist() for i in range(60)]
    backwards = [two[i].tokens.tolist() for i in reversed(range(60))][::-1]
    assert forwards == backwards
    dealt = [[two[i].tokens.tolist() for i in range(rank, 60, 2)] for rank in range(2)]
    assert [dealt[i % 2][i // 2] for i in range(60)] == forwards


def test_epochs_and_seeds_differ_in_order_and_in_cuts() -> None:
    text = stream([500])
    rows = Rows(text, VOCABULARY, length=16, seed=0)
    epochs = [[rows[e * len(rows) + i].tokens.tolist() for i in range(len(rows))] for e in range(3)]
    assert sorted(epochs[0]) != sorted(epochs[1]) != sorted(epochs[2])
    other = Rows(text, VOCABULARY, length=16, seed=1)
    assert [other[i].tokens.tolist() for i in range(len(other))] != epochs[0]


def test_keys_name_seed_epoch_and_row_once_each() -> None:
    rows = Rows(stream([500]), VOCABULARY, length=16, seed=7)
    keys = [rows.key(i) for i in range(2 * len(rows))]
    assert {key[0] for key in keys} == {7}
    assert [key[1] for key in keys] == [0] * len(rows) + [1] * len(rows)
    assert sorted(key[2] for key in keys[: len(rows)]) == list(range(len(rows)))
    assert [key[2] for key in keys[: len(rows)]] != list(range(len(rows)))


def test_without_a_seed_every_epoch_is_alike_and_in_order() -> None:
    text = stream([20, 20])
    rows = Rows(text, VOCABULARY, length=9, seed=None)
    first = [rows[i].tokens.tolist() for i in range(len(rows))]
    assert first[0] == [*text.all[:8].tolist(), 0]
    assert first == [rows[len(rows) + i].tokens.tolist() for i in range(len(rows))]
    assert rows.key(len(rows) + 2) == (0, 1, 2)


def test_a_stream_shorter_than_a_row_says_so() -> None:
    text = stream([10])
    text.name = "validation"
    with pytest.raises(
        DataError, match=r"validation split: expected at least one row of 64 tokens, got 12. .* larger share"
    ):
        Rows(text, VOCABULARY, length=64, seed=0)
