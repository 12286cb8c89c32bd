"""What an encoder reads and a decoder writes of rows: texts with spans hidden, and pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bothways.batch import Batch, Row, Sample
from bothways.errors import UsageError
from bothways.model import Model, preset
from bothways.model.losses import plain_loss
from bothways.objectives import build
from tests.objectives.rows import FIRST_TEXT, VOCABULARY, long_row, packed, pair_row, rows

CLS, SEP, MASK = VOCABULARY.cls, VOCABULARY.sep, VOCABULARY.mask


def drawn(expression: str, row: Row, seed: int = 0) -> Sample:
    return build(expression, VOCABULARY).sample(row, np.random.default_rng(seed), 0.0)


def sides(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is read, what the decoder is fed, and what it is to write."""
    (target,) = sample.targets
    return sample.tokens[sample.layout.side == 0], sample.tokens[sample.layout.side == 1], np.asarray(target.labels)


def test_a_pair_is_read_and_written_as_it_is() -> None:
    read, fed, written = sides(drawn("seq2seq", pair_row([(2, 3)], padding=2)))
    assert read.tolist() == [CLS, 6, 7, SEP]
    assert fed.tolist() == [CLS, 8, 9, 10]
    assert written.tolist() == [8, 9, 10, SEP]


def test_a_decoder_begins_as_the_files_of_its_model_say() -> None:
    """BART's begins with </s>, and <s> comes next, which is given too and not written."""
    vocabulary = replace(VOCABULARY, decoder_start_token_id=SEP)
    sample = build("seq2seq", vocabulary).sample(pair_row([(2, 2)]), np.random.default_rng(0), 0.0)
    _, fed, written = sides(sample)
    assert fed.tolist() == [SEP, CLS, 8, 9] and written.tolist() == [8, 9, SEP]
    assert sample.targets[0].at.tolist() == [5, 6, 7]


@given(row=rows, seed=st.integers(0, 2**32))
def test_infill_writes_every_text_and_reads_what_is_left(row: Row, seed: int) -> None:
    sample = drawn("seq2seq", row, seed)
    read, _, written = sides(sample)
    assert written.tolist() == row.tokens[row.following & (row.document >= 0)].tolist()
    left = read[read != MASK].tolist()
    rest = iter(row.tokens[row.document >= 0].tolist())
    assert all(token in rest for token in left)  # in order
    assert sample.layout.real.all()


@pytest.mark.parametrize("noise", ["infill", "spans"])
def test_a_share_of_the_tokens_is_hidden_in_spans_of_about_three(noise: str) -> None:
    row = long_row(np.random.default_rng(0), length=400)
    hidden, masks = 0, 0
    for seed in range(50):
        read, _, _ = sides(drawn(f"seq2seq(noise={noise})", row, seed))
        masks += int((read == MASK).sum())
        hidden += len(row) - len(read) + int((read == MASK).sum())
    assert hidden / (50 * (row.tokens >= FIRST_TEXT).sum()) == pytest.approx(0.3, abs=0.01)
    assert hidden / masks == pytest.approx(3.1, abs=0.2)  # of Poisson(3), no empty ones


@given(row=rows, seed=st.integers(0, 2**32))
def test_spans_put_back_in_place_of_the_masks_are_the_text(row: Row, seed: int) -> None:
    sample = drawn("seq2seq(noise=spans)", row, seed)
    (target,) = sample.targets
    document = sample.layout.document[np.asarray(target.at)]
    whole = []
    for number in np.unique(sample.layout.document):
        spans: list[list[int]] = []
        for token in np.asarray(target.labels)[document == number].tolist():
            if token == MASK:
                spans.append([])
            elif token != SEP:
                spans[-1].append(token)
        own = (sample.layout.document == number) & (sample.layout.side == 0)
        for token in sample.tokens[own].tolist():
            whole += spans.pop(0) if token == MASK else [token]
    assert whole == row.tokens[row.document >= 0].tolist()


def test_a_fragment_is_written_from_the_places_before_its_own() -> None:
    row = packed([8])
    sample = drawn("seq2seq(noise=mass, rate=0.5)", row, seed=3)
    (target,) = sample.targets
    fed = sample.layout.side == 1
    position = sample.layout.position[fed]
    assert (np.asarray(target.labels) == row.tokens[position + 1]).all()
    assert (sample.tokens[fed] == row.tokens[position]).all()
    assert (sample.tokens[~fed][sample.layout.hidden[~fed]] == MASK).all()


def test_documents_of_a_row_do_not_meet() -> None:
    """In a row of three the loss is that of the three alone, on either side and across."""
    model = Model(preset("2-2x64", vocabulary=VOCABULARY.size), seed=0).eval()
    pairs = [(4, 3), (2, 5), (6, 1)]
    first, total = FIRST_TEXT, 0.0
    for one in pairs:
        alone = pair_row([one])
        tokens = np.where(alone.tokens >= FIRST_TEXT, alone.tokens + first - FIRST_TEXT, alone.tokens)
        total += loss(model, replace(alone, tokens=tokens))
        first += sum(one)
    assert loss(model, pair_row(pairs)) == pytest.approx(total, rel=1e-5)


@torch.no_grad()
def loss(model: Model, row: Row) -> float:
    return float(plain_loss(model, Batch.stack([drawn("seq2seq", row)]))["seq2seq"][0])


def test_an_unknown_noise_is_named() -> None:
    with pytest.raises(UsageError, match="noise.*infill"):
        build("seq2seq(noise=words)", VOCABULARY)
