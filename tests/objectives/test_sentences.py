"""The two halves of a document: which belong together, who says so, and that no text is invented or told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bothways.batch import Batch, Row
from bothways.errors import UsageError
from bothways.model import Model, ModelConfig
from bothways.model.heads.sentences import SentencesHead
from bothways.model.losses import plain_loss
from bothways.objectives import build
from bothways.objectives.objective import sides
from bothways.objectives.sentences import InHalves, nsp, sop
from tests.objectives.rows import FIRST_TEXT, VOCABULARY, long_row, packed, rows

CLS, SEP = VOCABULARY.cls, VOCABULARY.sep
BOTH = ["nsp", "sop"]


def laid(how: str, row: Row, seed: int):
    objective = build(f"mlm(sentences={how})", VOCABULARY)
    return objective.corrupt(row, np.random.default_rng(seed), 0.0)


def halves(corrupted) -> list[tuple[list[int], list[int], int | None]]:
    """Each document's first and second half, and what its [CLS] must say."""
    row = corrupted.row
    side = sides(row, SEP)
    labels = {}
    for target in corrupted.also:
        labels = dict(zip(target.at.tolist(), target.labels.tolist(), strict=True))
    found = []
    for number in range(row.document.max() + 1):
        own = (row.document == number) & (row.tokens >= FIRST_TEXT)
        opener = int((row.document == number).argmax())
        found.append(
            (row.tokens[own & (side == 0)].tolist(), row.tokens[own & (side == 1)].tolist(), labels.get(opener))
        )
    return found


@pytest.mark.parametrize("how", BOTH)
@given(row=rows, seed=st.integers(0, 2**32))
def test_a_row_stays_a_row_of_the_same_text(how: str, row: Row, seed: int) -> None:
    corrupted = laid(how, row, seed)
    again = corrupted.row
    assert len(again) == len(row) == len(corrupted.tokens)
    assert again.tokens.dtype == again.document.dtype == np.int32
    real = again.document >= 0
    assert (np.diff(real.astype(int)) <= 0).all() and (again.tokens[~real] == VOCABULARY.pad).all()
    assert again.document[real].tolist() == (np.cumsum(again.tokens[real] == CLS) - 1).tolist()
    assert again.word_starts[again.tokens < FIRST_TEXT].all()
    text, before = (Counter(tokens[tokens >= FIRST_TEXT].tolist()) for tokens in (again.tokens, row.tokens))
    assert text <= before
    lost = sum(before.values()) - sum(text.values())
    documents = row.document.max() + 1
    assert lost <= 2 * documents + 2


def test_with_room_no_token_is_lost() -> None:
    row = packed([6, 9, 12], padding=9)
    for how in BOTH:
        for seed in range(50):
            again = laid(how, row, seed).row
            assert sorted(again.tokens[again.tokens >= FIRST_TEXT]) == sorted(row.tokens[row.tokens >= FIRST_TEXT])


def test_nsp_says_whether_the_second_half_follows_the_first() -> None:
    row = packed([8, 11, 9, 7], padding=8)
    after = {int(a): int(b) for a, b in zip(row.tokens, row.tokens[1:], strict=False) if min(a, b) >= FIRST_TEXT}
    seen = Counter()
    for seed in range(200):
        for first, second, label in halves(laid("nsp", row, seed)):
            assert label == (after.get(first[-1]) != second[0])
            seen[label] += 1
            assert first == list(range(first[0], first[-1] + 1)) and second == list(range(second[0], second[-1] + 1))
    assert seen[1] / seen.total() == pytest.approx(0.5, abs=0.06)


def test_nsp_swaps_between_documents_and_leaves_an_odd_one_alone() -> None:
    row = packed([8, 11, 9], padding=8)
    for seed in range(100):
        found = halves(laid("nsp", row, seed))
        assert sorted(label is None for _, _, label in found) == [False, False, True]
        for first, second, label in found:
            assert bool(second) == (label is not None)
            owner = {bisect(part[0]) for part in (first, second) if part}
            assert len(owner) == (2 if label else 1)


def bisect(token: int) -> int:
    """The document of packed([8, 11, 9]) that a token stood in."""
    return int(np.searchsorted(np.cumsum([8, 11, 9]) + FIRST_TEXT, token, side="right"))


def test_nsp_cuts_a_row_of_one_document_into_two() -> None:
    row = packed([40], padding=8)
    labels = Counter()
    for seed in range(300):
        found = halves(laid("nsp", row, seed))
        assert len(found) == 2
        labels.update(label for _, _, label in found)
        assert all(label == (second[0] != first[-1] + 1) for first, second, label in found)
    assert labels[1] / labels.total() == pytest.approx(0.5, abs=0.09)


def test_sop_says_whether_the_halves_stand_in_order() -> None:
    row = packed([8, 3, 9], padding=8)
    seen = Counter()
    for seed in range(200):
        first_one, short, last = halves(laid("sop", row, seed))
        assert short[1:] == ([], None)
        for first, second, label in (first_one, last):
            assert label == (first[0] > second[0])
            one, two = (second, first) if label else (first, second)
            assert one[-1] + 1 == two[0]
            seen[label] += 1
    assert seen[1] / seen.total() == pytest.approx(0.5, abs=0.08)


def test_halves_are_cut_where_a_word_begins() -> None:
    row = packed([30], padding=5, starts=[True, False, False])
    for seed in range(100):
        ((first, second, _),) = halves(laid("sop", row, seed))
        later = max(first[0], second[0])
        assert later > FIRST_TEXT and row.word_starts[row.tokens == later].all()


@pytest.mark.parametrize("how", BOTH)
def test_what_is_said(how: str) -> None:
    """The words at their places, the question at [CLS]; both count for all the text there is; segments are halves."""
    row = long_row(np.random.default_rng(0), length=128)
    objective = build(f"mlm(sentences={how}, replace=all-mask)", VOCABULARY)
    words_weight = sentences_weight = 0.0
    for seed in range(50):
        sample = objective.sample(row, np.random.default_rng(seed), 0.0)
        words, asked = sample.targets
        assert (words.name, words.head, asked.name, asked.head) == ("mlm", "words", "sentences", "sentences")
        assert (sample.tokens[words.at] == VOCABULARY.mask).all()
        assert (sample.tokens[asked.at] == CLS).all()
        assert set(asked.labels.tolist()) <= {0, 1}
        assert set(sample.layout.segment.tolist()) == {0, 1}
        words_weight += len(words.at) * words.weight
        sentences_weight += asked.weight.sum()
    assert sentences_weight == pytest.approx(words_weight, rel=0.12 if how == "sop" else 0.5)
    assert set(objective.shares) == {"mlm", "sentences"}


def test_a_half_that_the_row_cuts_off_is_not_asked_for() -> None:
    """Two documents of 4 fill the row; each cut takes a place at its end, so that some second halves go."""
    row = packed([4, 4])
    for seed in range(200):
        corrupted = laid("sop", row, seed)
        for first, second, label in halves(corrupted):
            assert first
            assert (label is None) == (not second)


@pytest.mark.parametrize("cut", [nsp, sop])
def test_documents_too_short_to_cut_are_left_alone(cut) -> None:
    documents = [np.arange(3), np.arange(3, 5)]
    assert [one.label for one in cut(documents, np.ones(5, dtype=bool), np.random.default_rng(0))] == [None, None]


def test_the_language_goes_with_the_text() -> None:
    row = replace(packed([9, 9]), language=np.arange(22, dtype=np.int32))
    for seed in range(20):
        again = laid("nsp", row, seed).row
        text = again.tokens >= FIRST_TEXT
        where = {int(token): int(number) for token, number in zip(row.tokens, row.language, strict=True)}
        assert [where[token] for token in again.tokens[text].tolist()] == again.language[text].tolist()


def test_the_hidden_words_are_those_of_mlm() -> None:
    """The same masking, laid over the halves."""
    corrupt = build("mlm(sentences=sop, rate=0.3, words=spans)", VOCABULARY).corrupt
    assert isinstance(corrupt, InHalves)
    assert corrupt.hide == build("mlm(rate=0.3, words=spans)", VOCABULARY).corrupt


@pytest.mark.parametrize("shape", ["modern", "classic"])
def test_a_model_learns_to_tell_halves(shape: str) -> None:
    """Ascending text: a half is in order when it begins higher than the other ends."""
    extra = {"segments": 2, "shape": "classic"} if shape == "classic" else {}
    config = ModelConfig(vocabulary=64, layers=2, width=32, heads=2, inner=64, length=24, init=0.1, **extra)
    objective = build("mlm(sentences=sop)", replace(VOCABULARY, size=64))
    model = Model(config, seed=0, heads=objective.heads)
    assert isinstance(model.heads["sentences"], SentencesHead)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    row = packed([18], padding=2)
    found = []
    for step in range(60):
        batch = Batch.stack([objective.sample(row, np.random.default_rng((step, i)), 0.0) for i in range(16)])
        losses = plain_loss(model, batch)
        total, weight = losses["sentences"]
        found.append(float((total / weight).detach()))
        optimiser.zero_grad()
        (total / weight).backward()
        optimiser.step()
    assert found[0] > 0.6
    assert np.mean(found[-5:]) < 0.35


def test_an_unknown_question_names_the_known() -> None:
    with pytest.raises(UsageError, match=r"unknown value of sentences 'nps'\. Did you mean 'nsp'\?"):
        build("mlm(sentences=nps)", VOCABULARY)
