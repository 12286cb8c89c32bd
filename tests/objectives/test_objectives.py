"""What every objective promises: what is said, from where, through which faces; and that a row is drawn at once."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.batch import Row, Sample
from bothways.objectives import OBJECTIVES, build, describe
from tests.objectives.rows import FIRST_TEXT, VOCABULARY, long_row, own_document, packed, rows

OF_WORDS = [name for name in OBJECTIVES if not build(name, VOCABULARY).heads and name != "seq2seq"]
"""seq2seq lays its tokens anew, which test_seq2seq.py is about."""
EXPRESSIONS = [*OF_WORDS, "mlm(rate=0.3, words=spans)", "0.25 causal + 0.75 mlm(words=whole)"]


def sample(expression: str, row: Row, seed: int = 0, progress: float = 0.0):
    return build(expression, VOCABULARY).sample(row, np.random.default_rng(seed), progress)


def said(expression: str, row: Row, seed: int = 0) -> dict[int, int]:
    (target,) = sample(expression, row, seed).targets
    return dict(zip(target.at.tolist(), target.labels.tolist(), strict=True))


@pytest.mark.parametrize("expression", EXPRESSIONS)
@given(row=rows, seed=st.integers(0, 2**32), progress=st.floats(0, 1))
def test_what_is_said_is_text_of_the_same_document(expression: str, row: Row, seed: int, progress: float) -> None:
    drawn = sample(expression, row, seed, progress)
    assert len(drawn.tokens) == len(drawn.layout.step) >= len(row)
    for target in drawn.targets:
        if target.head != "words":
            continue  # a verdict on the text that the model reads, not a word that it must not have seen
        assert len(set(target.at.tolist())) == len(target.at)
        for at, label in zip(target.at, target.labels, strict=True):
            assert drawn.layout.document[at] >= 0
            assert label in row.tokens[row.document == own_document(drawn.layout.document[at], row)]


@pytest.mark.parametrize("expression", EXPRESSIONS)
@given(row=rows, seed=st.integers(0, 2**32))
def test_a_document_reads_the_same_whatever_it_is_packed_with(expression: str, row: Row, seed: int) -> None:
    """Positions restart, and who sees whom within a document is a matter of its own columns; what is laid behind the
    text stands in positions of its document."""
    layout = sample(expression, row, seed).layout
    assert np.array_equal(layout.document[: len(row)], row.document)
    for document in set(row.document.tolist()):
        own = row.document == document
        positions = layout.position[own_document(layout.document, row) == document]
        assert np.array_equal(positions[: own.sum()], np.arange(own.sum()))
        assert set(positions.tolist()) <= set(range(own.sum()))


def test_causal_says_the_next_token_of_its_document() -> None:
    row = packed([2, 1], padding=1)  # [CLS] 6 7 [SEP] [CLS] 8 [SEP] [PAD]
    assert said("causal", row) == {0: 6, 1: 7, 2: 3, 4: 8, 5: 3}


def test_reversed_says_the_token_before_but_not_the_opener_of_a_row() -> None:
    """A row may be cut out of the middle of a document, and is opened by [CLS] all the same."""
    row = packed([2, 1], padding=1)
    assert said("reversed", row) == {2: 6, 3: 7, 5: 2, 6: 8}


@given(row=rows, seed=st.integers(0, 2**32))
def test_prefix_says_the_end_of_every_document(row: Row, seed: int) -> None:
    says = said("prefix", row, seed)
    causal = said("causal", row)
    for document in set(row.document[row.document >= 0].tolist()):
        places = np.flatnonzero(row.document == document)
        own = [place for place in places.tolist() if place in says]
        assert own == list(range(own[0], places[-1])) if len(places) > 1 else not own
        assert all(says[place] == causal[place] for place in own)


@given(row=rows, seed=st.integers(0, 2**32))
def test_gpt_bert_says_one_place_before_what_mlm_says_in_place(row: Row, seed: int) -> None:
    (_, _), (masked, _) = build("gpt-bert", VOCABULARY).leaves()
    corrupted = masked.corrupt(row, np.random.default_rng(seed), 0.0)
    (target,) = masked.sample(row, np.random.default_rng(seed), 0.0).targets
    assert np.array_equal(target.at + 1, np.flatnonzero(corrupted.chosen))
    assert np.array_equal(target.labels, row.tokens[target.at + 1])


@given(row=rows, seed=st.integers(0, 2**32))
def test_hybrid_shows_a_mask_wherever_it_asks_in_place(row: Row, seed: int) -> None:
    drawn = sample("hybrid", row, seed)
    (target,) = drawn.targets
    assert target.name in ("causal", "mlm")
    if target.name == "mlm":
        assert (drawn.tokens[target.at] == VOCABULARY.mask).all()
    else:
        assert np.array_equal(drawn.tokens, row.tokens)


def test_unilm_marks_how_a_row_is_read_with_its_segment() -> None:
    """As the published code does: 0 for bidirectional, 2 and 3 for the directions, 4 and 5 for source and target."""
    row = long_row(np.random.default_rng(0), length=64)
    segments = {}
    for seed in range(40):
        drawn = sample("unilm1", row, seed)
        segments[drawn.targets[0].name] = set(drawn.layout.columns.get("segment", np.zeros(1, int)).tolist())
    assert segments == {"bidirectional": {0}, "left-to-right": {2}, "right-to-left": {3}, "seq2seq": {4, 5}}


def test_faces() -> None:
    faces = {name: build(name, VOCABULARY).abilities.faces for name in OBJECTIVES}
    assert faces == {
        "causal": ("decoder",),
        "reversed": (),
        "prefix": ("decoder",),
        "mlm": ("encoder",),
        "unilm1": ("encoder",),
        "unilm2": ("encoder",),
        "hybrid": ("encoder", "decoder"),
        "gpt-bert": ("decoder",),
        "electra": ("encoder",),
        "deberta-v3": ("encoder",),
        "tlm": ("encoder",),
        "xlm": ("encoder",),
        "codebert": ("encoder",),
        "diffusion": ("encoder",),
        "block-diffusion": (),
        "elmo": (),
        "mass": (),
        "any-order": (),
        "bang": (),
        "seq2seq": (),
    }
    assert build("causal + mlm", VOCABULARY).abilities.faces == ("encoder", "decoder")


def test_they_describe_themselves() -> None:
    records = describe()
    assert json.loads(json.dumps(records)) == records
    assert [record["name"] for record in records] == list(OBJECTIVES)
    assert all(record["summary"] and record["paper"] and record["needs"] for record in records)
    arguments = {record["name"]: record["arguments"] for record in records}
    assert arguments["mlm"] == {"rate": 0.15, "words": "tokens", "replace": "bert", "weight": None, "sentences": "none"}
    assert arguments["gpt-bert"] == {"causal": 0.0625, "rate": "0.3->0.15"}


def flat(sample: Sample) -> list[Any]:
    """All arrays of a sample."""
    layout, targets = sample.layout.columns, sample.targets
    return [sample.tokens, *layout.values(), *(part for one in targets for part in (one.at, one.labels, one.weight))]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_sample_is_a_function_of_row_and_randomness(expression: str) -> None:
    """Also after a journey to another process."""
    row = long_row(np.random.default_rng(0), length=128)
    objective = build(expression, VOCABULARY)
    travelled = pickle.loads(pickle.dumps(objective))  # noqa: S301 - our own bytes
    for seed in range(5):
        one, two = (each.sample(row, np.random.default_rng(seed), 0.5) for each in (objective, travelled))
        for column, same in zip(flat(one), flat(two), strict=True):
            assert np.array_equal(column, same)


def test_special_tokens_are_said_only_by_those_who_read_in_a_direction() -> None:
    row = long_row(np.random.default_rng(0), length=128)
    for expression in ("mlm", "unilm1", "mlm(words=spans)"):
        for seed in range(20):
            assert all(label >= FIRST_TEXT for label in said(expression, row, seed).values())


def lines_run(call: Callable[[], object]) -> int:
    """How many lines of Python a call runs."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_nothing_loops_over_tokens(expression: str) -> None:
    """A row eight times as long, of as many documents, takes about as many lines; benchmarks/objectives.py has time."""
    objective = build(expression, VOCABULARY)
    short, long = (
        sum(lines_run(partial(objective.sample, row, np.random.default_rng(seed), 0.5)) for seed in range(20))
        for row in (packed([60, 50]), packed([480, 400]))
    )
    assert long < 2 * short
