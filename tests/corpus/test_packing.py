"""Rows of whole pairs: both sides together, every token once an epoch, computed from their number alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.batch import Row
from bothways.corpus import Rows
from bothways.corpus.document_index import Table, records
from bothways.corpus.packing import best_fit
from bothways.errors import DataError
from tests.corpus.test_rows import VOCABULARY, Memory

OPEN, PART, PAD = VOCABULARY.cls, VOCABULARY.sep, VOCABULARY.pad


def mixed(documents: list[tuple[int, int | None]]) -> Memory:
    """Documents of so many tokens, or pairs of so many on each side; text is in 2, first sides in 0, second in 1."""
    parts: list[int] = []
    lengths, firsts, languages = [], [], []
    number = 5
    for first, second in documents:
        sides = [first] if second is None else [first, second]
        before = len(parts)
        parts.append(OPEN)
        for length in sides:
            parts += [*range(number, number + length), PART]
            number += length
        lengths.append(len(parts) - before)
        firsts.append(0 if second is None else first + 2)
        languages.append((2,) if second is None else (0, 1))
    rows = zip(lengths, firsts, languages, strict=True)
    content = b"".join(records(np.array([a]), np.array([b]), c).tobytes() for a, b, c in rows)
    tokens = np.array(parts, dtype=np.int32)
    table = Table.read(np.frombuffer(content, dtype=np.uint8))
    return Memory(tokens, (tokens % 2 == 0) | (tokens < 5), table=table)


PAIR = st.tuples(st.integers(1, 30), st.integers(1, 30))
TEXT = st.tuples(st.integers(0, 30), st.none())
DOCUMENTS = st.lists(st.one_of(PAIR, TEXT), min_size=1, max_size=12).filter(lambda found: any(b for _, b in found))
SEED = st.one_of(st.none(), st.integers(0, 9))


def epoch_of(text: Memory, *, length: int, seed: int | None, epoch: int = 0) -> list[Row]:
    rows = Rows(text, VOCABULARY, length=length, seed=seed)
    return [rows[epoch * len(rows) + i] for i in range(len(rows))]


@given(documents=DOCUMENTS, length=st.integers(8, 20), seed=SEED, epoch=st.integers(0, 3))
def test_an_epoch_holds_every_token_of_text_once(
    documents: list[tuple[int, int | None]], length: int, seed: int | None, epoch: int
) -> None:
    text = mixed(documents)
    found = Counter(token for row in epoch_of(text, length=length, seed=seed, epoch=epoch) for token in row.tokens)
    assert {token: count for token, count in found.items() if token > 4} == Counter(text.all[text.all > 4].tolist())


@given(documents=DOCUMENTS, length=st.integers(8, 20), seed=SEED)
def test_no_row_mixes_pairs_and_texts_and_no_pair_loses_a_side(
    documents: list[tuple[int, int | None]], length: int, seed: int | None
) -> None:
    text = mixed(documents)
    owner = dict(zip(text.all.tolist(), text.table.languages(np.arange(len(text.all))).tolist(), strict=True))
    for row in epoch_of(text, length=length, seed=seed):
        assert len(row.tokens) == len(row.document) == len(row.word_starts) == len(row.language) == length
        assert row.language.dtype == np.int32
        inside = row.tokens > 4
        assert [owner[token] for token in row.tokens[inside].tolist()] == row.language[inside].tolist()
        kinds = set(row.language[row.document >= 0].tolist())
        assert kinds == {2} or 2 not in kinds
        for number in range(row.document.max() + 1) if kinds != {2} else ():
            own = row.tokens[row.document == number]
            assert own[0] == OPEN and own[-1] == PART and (own == PART).sum() == 2
            parting = int((own == PART).argmax())
            language = row.language[row.document == number]
            assert (language[: parting + 1] == 0).all() and (language[parting + 1 :] == 1).all()
        assert (row.part is None) == (kinds == {2})
        if row.part is not None:
            assert row.part.dtype == np.int32 and np.array_equal(row.part, np.where(row.document < 0, 0, row.language))


def test_a_pair_longer_than_a_row_is_cut_into_shares_of_both_sides() -> None:
    """Nine words beside six in rows of 11, as the picture in the module shows it but for the numbers."""
    rows = epoch_of(mixed([(9, 6)]), length=11, seed=None)
    laid = [row.tokens[row.document >= 0].tolist() for row in rows]
    assert laid == [
        [OPEN, 5, 6, 7, PART, 14, 15, PART],
        [OPEN, 8, 9, 10, PART, 16, 17, PART],
        [OPEN, 11, 12, 13, PART, 18, 19, PART],
    ]
    assert all(row.word_starts[[1, 5]].all() for row in rows)


def test_a_pair_that_just_fits_is_whole() -> None:
    (row,) = epoch_of(mixed([(5, 3)]), length=11, seed=None)
    assert row.tokens.tolist() == [OPEN, 5, 6, 7, 8, 9, PART, 10, 11, 12, PART]


def test_a_row_is_a_function_of_its_number_alone() -> None:
    text = mixed([(7, 4), (30, None), (5, 9), (3, 3), (12, None), (3, 3), (6, 6)])
    one, two = (Rows(text, VOCABULARY, length=16, seed=3) for _ in range(2))
    forwards = [one[i].tokens.tolist() for i in range(8 * len(one))]
    backwards = [two[i].tokens.tolist() for i in reversed(range(8 * len(one)))][::-1]
    assert forwards == backwards


def test_epochs_bring_pairs_into_new_company() -> None:
    text = mixed([(3, 3)] * 40)
    rows = Rows(text, VOCABULARY, length=30, seed=0)
    epochs = [{tuple(rows[e * len(rows) + i].tokens) for i in range(len(rows))} for e in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert {tuple(sorted(row)) for row in epochs[0]} != {tuple(sorted(row)) for row in epochs[1]}


def test_texts_are_read_as_if_there_were_no_pairs() -> None:
    """The same windows of the same tokens, wherever pairs stand between the documents."""
    texts: list[tuple[int, int | None]] = [(7, None), (30, None), (12, None)]
    plain = mixed(texts)
    between = mixed([(4, 4), *texts[:1], (2, 6), *texts[1:], (3, 3)])
    alone = [row.tokens.tolist() for row in epoch_of(plain, length=9, seed=None)]
    found = [row for row in epoch_of(between, length=9, seed=None) if (row.language[row.document >= 0] == 2).all()]
    lengths = [[token if token < 5 else 5 for token in row] for row in alone]
    assert [[token if token < 5 else 5 for token in row.tokens.tolist()] for row in found] == lengths


def test_pairs_need_rows_that_hold_one() -> None:
    with pytest.raises(DataError, match="pairs need rows of at least 8 tokens, got 7"):
        Rows(mixed([(2, 2)]), VOCABULARY, length=7, seed=0)


@given(lengths=st.lists(st.integers(3, 20), max_size=60))
def test_best_fit_overfills_no_row_and_leaves_none_half_empty_twice(lengths: list[int]) -> None:
    lengths = sorted(lengths, reverse=True)
    rows = best_fit(lengths, 20)
    filled = np.bincount(rows, weights=lengths) if lengths else np.zeros(0)
    assert (filled <= 20).all()
    assert (filled <= 10).sum() <= 1
    assert sorted(set(rows.tolist())) == list(range(len(filled)))


def test_a_stream_without_a_table_is_laid_without_languages() -> None:
    text = replace(mixed([(40, None)]), table=None)
    assert epoch_of(text, length=9, seed=0)[0].language is None
