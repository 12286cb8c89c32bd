"""The rule against loops of its definition and against hand-written arrays; columns, and chains of sight.

Letters: B rows, T tokens, Q queries, K keys. 1 = may see; a row of an array is a query.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bothways.visibility import (
    Layout,
    Visibility,
    ahead,
    anchored,
    named,
    ordered,
    places,
    reachable,
    text_key,
    within,
)


def matrix(text: str) -> np.ndarray:
    """An array written as lines of 1 and 0."""
    return np.array([[cell == "1" for cell in line.split()] for line in text.strip().splitlines()])


def six(**columns: list[int]) -> Layout:
    return Layout.of(document=[0] * 6, **columns)


@st.composite
def layouts(draw: st.DrawFn, longest: int = 12) -> Layout:
    """Any columns at all: the rule must read them as it is written, sense or no sense."""
    length = draw(st.integers(1, longest))

    def column(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=length, max_size=length))

    return Layout.of(
        document=sorted(column(0, 2)),
        step=column(-2, 3),
        group=column(0, 2),
        position=column(0, 5),
        hidden=column(0, 1),
    )


def written_rule(layout: Layout, q: int, k: int) -> bool:
    """A token sees the text of earlier steps, unless it is hidden, and its own group within its own step."""
    if layout.document[q] != layout.document[k]:
        return False
    earlier = layout.step[k] < layout.step[q] and layout.group[k] == 0 and not layout.hidden[k]
    together = layout.step[k] == layout.step[q] and layout.group[k] == layout.group[q]
    return bool(earlier or together)


@given(layouts())
def test_the_rule_is_the_rule_as_written(layout: Layout) -> None:
    length = len(layout.document)
    expected = [[q == k or written_rule(layout, q, k) for k in range(length)] for q in range(length)]
    assert np.array_equal(ordered.matrix(layout), expected)


@given(st.lists(layouts(longest=6).filter(lambda layout: len(layout.document) == 4), min_size=1, max_size=3))
def test_a_batch_is_its_rows(rows: list[Layout]) -> None:
    dense = ordered.dense(Layout.stack(rows))
    assert dense.shape == (len(rows), 1, 4, 4) and dense.dtype == torch.bool
    for row, mask in zip(rows, dense[:, 0].numpy(), strict=True):
        assert np.array_equal(mask, ordered.matrix(row))


@given(layouts(), st.randoms(use_true_random=False))
def test_shuffling_the_tokens_shuffles_the_mask(layout: Layout, random: st.randoms) -> None:
    order = list(range(len(layout.document)))
    random.shuffle(order)
    shuffled = layout.map(lambda column: column[order])
    assert np.array_equal(ordered.matrix(shuffled), ordered.matrix(layout)[np.ix_(order, order)])


@given(layouts(), st.data())
def test_fewer_queries_than_keys_give_those_rows_of_the_mask(layout: Layout, data: st.DataObject) -> None:
    """Decoding with a cache is the same rule with fewer queries."""
    chosen = data.draw(st.lists(st.integers(0, len(layout.document) - 1), min_size=1, max_size=4, unique=True))
    keys = Layout.stack([layout])
    queries = keys.map(lambda column: column[:, chosen])
    seen = ordered.dense(queries, keys)[0, 0]
    assert seen.shape == (len(chosen), len(layout.document))
    own = torch.tensor(chosen)[:, None] == torch.arange(len(layout.document))
    assert torch.equal(seen | own, ordered.dense(keys)[0, 0, chosen])


@given(layouts())
def test_no_row_of_attention_is_ever_empty(layout: Layout) -> None:
    never = text_key & ~text_key
    assert np.array_equal(never.matrix(layout), np.eye(len(layout.document), dtype=bool))
    assert never.dense(Layout.stack([layout]))[0, 0].diagonal().all()


@given(layouts())
def test_the_algebra_is_that_of_sets(layout: Layout) -> None:
    def raw(rule: Visibility) -> np.ndarray:
        return np.asarray(rule.rule(layout.map(lambda c: c[:, None]), layout.map(lambda c: c[None, :])))

    near = abs(layout.position[:, None] - layout.position[None, :]) <= 2
    assert np.array_equal(raw(within(2)), near)
    assert np.array_equal(raw(ordered & within(2)), raw(ordered) & near)
    assert np.array_equal(raw(ordered | ahead), raw(ordered) | raw(ahead))
    assert np.array_equal(raw(~(ordered & text_key)), raw(~ordered | ~text_key))
    assert np.array_equal(raw(ahead), layout.position[None, :] > layout.position[:, None])


def test_the_algebra_says_what_it_is() -> None:
    assert (ordered & ~within(128)).name == "(ordered & ~within(128))"
    assert (ordered | anchored).name == "(ordered | anchored)"


def test_columns_that_nobody_uses_are_not_there() -> None:
    """Neither in a row, nor in a batch; one that only some rows have is 0 in the others."""
    plain, hidden = Layout.of(document=[0, 0], step=[0, 1]), Layout.of(document=[0, 0], step=[0, 0], hidden=[1, 0])
    assert {*Layout.stack([plain, plain]).columns} == {"document", "step", "group", "position"}
    both = Layout.stack([plain, hidden, replace(plain, language=np.array([2, 1], dtype=np.int32))])
    assert both.hidden.dtype == torch.bool and both.hidden.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert both.language.dtype == torch.int32 and both.language.tolist() == [[0, 0], [0, 0], [2, 1]]
    assert both.segment is both.anchor is both.modality is both.side is None
    behind = Layout.concat([plain, hidden])
    assert behind.hidden.tolist() == [0, 0, 1, 0] and behind.step.tolist() == [0, 1, 0, 0]
    assert hidden.padded(1).hidden.tolist() == [1, 0, 0] and plain.padded(1).hidden is None


@given(layouts())
def test_a_column_of_zeros_is_none(layout: Layout) -> None:
    zeros = replace(layout, hidden=layout.document < 0, anchor=0 * layout.document)
    for rule in (ordered, ordered | anchored):
        assert np.array_equal(rule.matrix(zeros), ordered.matrix(replace(layout, hidden=None)))
    assert np.array_equal((ordered | anchored).matrix(layout), ordered.matrix(layout))


FACTS = {
    # Tim Cook is visiting Beijing now (K-BERT, figure 2): CEO Apple hangs on Cook, capital China and city on Beijing.
    "tim cook": (
        "Tim Cook CEO Apple is visiting Beijing capital China is_a city now",
        "0   0    1   1     0  0        0       2       2     3    3    0",
        "0   1    1   1     0  0        2       2       2     2    2    0",
        "0   1    2   3     2  3        4       5       6     5    6    5",
        """
        1 1 0 0 1 1 1 0 0 0 0 1
        1 1 1 1 1 1 1 0 0 0 0 1
        0 1 1 1 0 0 0 0 0 0 0 0
        0 1 1 1 0 0 0 0 0 0 0 0
        1 1 0 0 1 1 1 0 0 0 0 1
        1 1 0 0 1 1 1 0 0 0 0 1
        1 1 0 0 1 1 1 1 1 1 1 1
        0 0 0 0 0 0 1 1 1 0 0 0
        0 0 0 0 0 0 1 1 1 0 0 0
        0 0 0 0 0 0 1 0 0 1 1 0
        0 0 0 0 0 0 1 0 0 1 1 0
        1 1 0 0 1 1 1 0 0 0 0 1
        """,
    ),
    "a fact at the end": (
        "she lives in Paris is_a city . and he in Rome .",
        "0   0     0  0     1    1    0 0   0  0  0    0",
        "0   0     0  1     1    1    0 0   0  0  0    0",
        "0   1     2  3     4    5    4 5   6  7  8    9",
        """
        1 1 1 1 0 0 1 1 1 1 1 1
        1 1 1 1 0 0 1 1 1 1 1 1
        1 1 1 1 0 0 1 1 1 1 1 1
        1 1 1 1 1 1 1 1 1 1 1 1
        0 0 0 1 1 1 0 0 0 0 0 0
        0 0 0 1 1 1 0 0 0 0 0 0
        1 1 1 1 0 0 1 1 1 1 1 1
        1 1 1 1 0 0 1 1 1 1 1 1
        1 1 1 1 0 0 1 1 1 1 1 1
        1 1 1 1 0 0 1 1 1 1 1 1
        1 1 1 1 0 0 1 1 1 1 1 1
        1 1 1 1 0 0 1 1 1 1 1 1
        """,
    ),
}


def test_the_visible_matrix_of_k_bert() -> None:
    """Liu et al. 2020, section 3.3: facts are branches, seen by what they hang on only, another tree in every row.

    Two facts about one word do not see each other, and their positions go on from it.
    """
    rows, expected = [], []
    for words, group, anchor, position, mask in FACTS.values():
        columns = {"group": group, "anchor": anchor, "position": position}
        given = {name: [int(cell) for cell in column.split()] for name, column in columns.items()}
        rows.append(Layout.of(document=[0] * len(words.split()), step=[0] * len(words.split()), **given))
        expected.append(matrix(mask))
    rule = ordered | anchored
    assert named(rule.name).name == "(ordered | anchored)"
    assert np.array_equal(rule.dense(Layout.stack(rows))[:, 0].numpy(), np.stack(expected))


def test_positions_restart_with_every_document() -> None:
    layout = Layout.of(document=[0, 0, 0, 1, 1, -1, -2], step=[0] * 7)
    assert layout.position.tolist() == [0, 1, 2, 0, 1, 0, 0]
    assert layout.real.tolist() == [True] * 5 + [False] * 2
    assert places(np.array([], dtype=np.int32)).tolist() == []


def test_packed_documents_and_padding_never_meet() -> None:
    layout = Layout.of(document=[0, 0, 1, 1, -1, -2], step=[0] * 6)
    expected = matrix("""
        1 1 0 0 0 0
        1 1 0 0 0 0
        0 0 1 1 0 0
        0 0 1 1 0 0
        0 0 0 0 1 0
        0 0 0 0 0 1
    """)
    assert np.array_equal(ordered.matrix(layout), expected)


@given(layouts(longest=8))
def test_reachable_is_what_chains_of_sight_reach(layout: Layout) -> None:
    mask = ordered.matrix(layout)
    chains = np.linalg.matrix_power(mask.astype(np.int64), len(mask)) > 0
    assert np.array_equal(reachable(mask), chains)


def test_a_chain_of_two_is_found() -> None:
    direct = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=bool)
    assert reachable(direct)[0].all()
