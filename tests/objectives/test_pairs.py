"""Pairs of texts: positions restart, both sides are seen, rows of one kind go to one objective."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.batch import Row
from bothways.errors import UsageError
from bothways.objectives import build
from bothways.objectives.objective import sides
from bothways.visibility import ordered, places
from tests.objectives.leaks import check_no_leak, without_keeping
from tests.objectives.rows import PAIR_ROWS as ROWS
from tests.objectives.rows import VOCABULARY, packed, pair_row


class Counted:
    """A corpus whose n-th token stands n times."""

    def counts(self) -> np.ndarray:
        return np.arange(VOCABULARY.size)

    def fillers(self) -> dict[int, object]:
        return {}


def test_the_second_side_stands_behind_the_token_that_parts_it() -> None:
    row = pair_row([(2, 2), (1, 3)], padding=1)
    assert sides(row, VOCABULARY.sep).tolist() == [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0]
    assert np.array_equal(sides(row, VOCABULARY.sep), row.language)


def test_documents_that_are_no_pairs_have_one_side() -> None:
    for row in (packed([3, 2], padding=2), packed([3, 2], cut=True), packed([0])):
        assert not sides(row, VOCABULARY.sep).any()


@given(row=ROWS, seed=st.integers(0, 2**32))
def test_positions_restart_with_the_second_side(row: Row, seed: int) -> None:
    layout = build("tlm", VOCABULARY).sample(row, np.random.default_rng(seed), 0.0).layout
    for number in range(row.document.max() + 1):
        own = np.flatnonzero(row.document == number)
        parting = int((row.tokens[own] == VOCABULARY.sep).argmax())
        assert layout.position[own].tolist() == [*range(parting), *range(len(own) - parting)]
    assert np.array_equal(layout.language, row.language)


@given(row=ROWS, seed=st.integers(0, 2**32))
def test_both_sides_are_seen_whole_and_no_other_pair(row: Row, seed: int) -> None:
    layout = build("tlm", VOCABULARY).sample(row, np.random.default_rng(seed), 0.0).layout
    assert np.array_equal(ordered.matrix(layout), row.document[:, None] == row.document[None, :])


@pytest.mark.parametrize("expression", ["tlm(rate=0.9)", "xlm(rate=0.9)", "tlm(rate=0.9, reweight=0.5)"])
@given(row=ROWS, seed=st.integers(0, 2**32))
def test_position_0_is_never_said(expression: str, row: Row, seed: int) -> None:
    sample = build(expression, VOCABULARY, corpus=Counted()).sample(row, np.random.default_rng(seed), 0.0)
    (target,) = sample.targets
    assert target.name == "tlm"
    assert (sample.layout.position[target.at] > 0).all()
    assert np.array_equal(target.labels, row.tokens[target.at])


@pytest.mark.parametrize("expression", ["tlm", "xlm"])
@given(row=ROWS, seed=st.integers(0, 2**32))
def test_no_place_of_a_pair_reaches_its_answer(expression: str, row: Row, seed: int) -> None:
    (leaf, *_) = (leaf for leaf, _ in without_keeping(build(expression, VOCABULARY)).leaves())
    check_no_leak(leaf, row, seed=seed, progress=0.0)


def test_both_sides_are_hidden_alike() -> None:
    row = pair_row([(50, 50)])
    side = sides(row, VOCABULARY.sep)
    objective = build("tlm", VOCABULARY)
    at = [objective.sample(row, np.random.default_rng(seed), 0.0).targets[0].at for seed in range(2000)]
    share = np.bincount(side[np.concatenate(at)], minlength=2) / 2000 / 50
    assert share == pytest.approx([0.15, 0.15], abs=0.006)


def names(expression: str, row: Row) -> dict[str, float]:
    objective = build(expression, VOCABULARY)
    drawn = [objective.sample(row, np.random.default_rng(seed), 0.0).targets[0].name for seed in range(400)]
    return {name: drawn.count(name) / 400 for name in set(drawn)}


def test_xlm_reads_every_row_by_its_kind() -> None:
    pairs, texts = pair_row([(20, 20)]), packed([40])
    assert names("xlm", pairs) == names("xlm(causal=0.5)", pairs) == {"tlm": 1.0}
    assert names("xlm", texts) == {"mlm": 1.0}
    assert names("xlm(causal=1)", texts) == {"causal": 1.0}
    assert names("xlm(causal=0.25)", texts) == {
        "causal": pytest.approx(0.25, abs=0.07),
        "mlm": pytest.approx(0.75, abs=0.07),
    }


def test_xlm_has_the_losses_and_faces_of_its_parts() -> None:
    assert build("xlm", VOCABULARY).shares == {"tlm": 0.5, "mlm": 0.5}
    assert set(build("xlm(causal=0.25)", VOCABULARY).shares) == {"tlm", "mlm", "causal"}
    assert build("xlm(causal=0.25)", VOCABULARY).abilities.faces == ("encoder", "decoder")
    assert build("xlm", VOCABULARY).about.requires == {"pairs", "languages"}


def test_a_mixture_requires_what_its_members_require() -> None:
    assert build("tlm + mlm(words=whole)", VOCABULARY).about.requires == {"pairs", "languages", "word starts"}
    assert build("mlm", VOCABULARY).about.requires == frozenset()


@pytest.mark.parametrize("expression", ["mlm", "causal", "reversed", "prefix"])
def test_the_language_of_a_row_stays_with_its_tokens(expression: str) -> None:
    language = np.arange(10, dtype=np.int32)
    row = replace(packed([8]), language=language)
    layout = build(expression, VOCABULARY).sample(row, np.random.default_rng(0), 0.0).layout
    assert np.array_equal(layout.language, language)
    without = build(expression, VOCABULARY).sample(packed([8]), np.random.default_rng(0), 0.0).layout
    assert without.language is None


def test_mlm_over_a_pair_counts_its_places_through() -> None:
    row = pair_row([(3, 3)])
    layout = build("mlm", VOCABULARY).sample(row, np.random.default_rng(0), 0.0).layout
    assert np.array_equal(layout.position, places(row.document))


def test_frequent_tokens_are_hidden_less() -> None:
    """Odds go with frequency to the power of -1/2, drawn without replacement; the share stays."""
    row = Row(
        np.array([VOCABULARY.cls, *([900] * 50 + [9] * 50), VOCABULARY.sep], dtype=np.int32),
        np.zeros(102, dtype=np.int32),
        np.ones(102, dtype=bool),
    )
    objective = build("tlm(rate=0.05, reweight=0.5)", VOCABULARY, corpus=Counted())
    labels = [objective.sample(row, np.random.default_rng(seed), 0.0).targets[0].labels for seed in range(3000)]
    said = np.concatenate(labels)
    assert len(said) / 3000 == pytest.approx(5, abs=0.01)
    assert (said == 9).sum() / (said == 900).sum() == pytest.approx((900 / 9) ** 0.5, rel=0.15)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("tlm(reweight=0.5)", "there is none here"),
        ("tlm(reweight=2)", "0 to 1, got 2"),
        ("xlm(causal=1.5)", "0 to 1, got 1.5"),
        ("tlm(rate=0)", "above 0"),
        ("tlm(corpus=a)", "unknown argument of tlm 'corpus'"),
    ],
)
def test_what_cannot_be_is_refused(expression: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(expression, VOCABULARY)
