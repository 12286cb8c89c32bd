"""Who sees whom: the rule against loops of its definition, against hand-written arrays, and against published masks.

Letters: B rows, T tokens, Q queries, K keys. 1 = may see; a row of an array is a query.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
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
        return np.asarray(rule(layout.map(lambda c: c[:, None]), layout.map(lambda c: c[None, :])))

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
    behind = both.map(lambda column: column[:1]).then(Layout.stack([plain]))
    assert behind.hidden.tolist() == [[0, 0, 0, 0]] and behind.step.tolist() == [[0, 1, 0, 1]]
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


UNILM = {
    "bidirectional": (
        [0, 0, 0, 0, 0, 0],
        """
        1 1 1 1 1 1
        1 1 1 1 1 1
        1 1 1 1 1 1
        1 1 1 1 1 1
        1 1 1 1 1 1
        1 1 1 1 1 1
        """,
    ),
    "left-to-right": (
        [0, 1, 2, 3, 4, 5],
        """
        1 0 0 0 0 0
        1 1 0 0 0 0
        1 1 1 0 0 0
        1 1 1 1 0 0
        1 1 1 1 1 0
        1 1 1 1 1 1
        """,
    ),
    "right-to-left": (
        [0, -1, -2, -3, -4, -5],
        """
        1 1 1 1 1 1
        0 1 1 1 1 1
        0 0 1 1 1 1
        0 0 0 1 1 1
        0 0 0 0 1 1
        0 0 0 0 0 1
        """,
    ),
    "seq2seq, three words of source": (
        [0, 0, 0, 1, 2, 3],
        """
        1 1 1 0 0 0
        1 1 1 0 0 0
        1 1 1 0 0 0
        1 1 1 1 0 0
        1 1 1 1 1 0
        1 1 1 1 1 1
        """,
    ),
}


@pytest.mark.parametrize("name", UNILM)
def test_the_four_masks_of_unilm(name: str) -> None:
    """Dong et al. 2019, figure 1."""
    step, expected = UNILM[name]
    assert np.array_equal(ordered.matrix(six(step=step)), matrix(expected))


def test_pseudo_masks_of_unilm2() -> None:
    """UniLM v2 (Bao et al. 2020), as loops.

    Six words, two blocks: first the fourth and fifth word together, then the second. In place of the chosen words the
    context holds [M]; behind it lie, for each block, the words themselves and as many [P].
    """
    blocks = [[3, 4], [1]]
    kinds: list[tuple[str, int]] = [("context", 0)] * 6
    position = list(range(6))
    for number, block in enumerate(blocks, start=1):
        for kind in ("word", "P"):
            kinds += [(kind, number)] * len(block)
            position += block

    def sees(query: tuple[str, int], key: tuple[str, int]) -> bool:
        (asker, own), (asked, other) = query, key
        if asked == "context":
            return True
        if asker == "context":
            return False
        if asked == "P":
            return asker == "P" and other == own
        return other < own or (asker == "word" and other == own)

    layout = Layout.of(
        document=[0] * len(kinds),
        step=[number for _, number in kinds],
        group=[int(kind == "P") for kind, _ in kinds],
        position=position,
    )
    assert np.array_equal(ordered.matrix(layout), [[sees(q, k) for k in kinds] for q in kinds])
    closure = reachable(ordered.matrix(layout))
    for i, (kind, number) in enumerate(kinds):
        if kind == "P":
            assert not any(closure[i, j] for j, other in enumerate(kinds) if other == ("word", number))


def test_block_diffusion() -> None:
    """Arriola et al. 2025: block-diagonal, offset block-causal and block-causal, as loops."""
    length, size = 6, 2
    block = [i // size for i in range(length)]
    clean, noisy = "clean", "noisy"
    tokens = [(clean, b) for b in block] + [(noisy, b) for b in block]

    def sees(query: tuple[str, int], key: tuple[str, int]) -> bool:
        (asker, own), (asked, other) = query, key
        diagonal = asker == asked and own == other
        offset_causal = asker == noisy and asked == clean and other < own
        causal = asker == asked == clean and other <= own
        return diagonal or offset_causal or causal

    layout = Layout.of(
        document=[0] * 2 * length,
        step=block * 2,
        group=[0] * length + [1] * length,
        position=[*range(length), *range(length)],
    )
    assert np.array_equal(ordered.matrix(layout), [[sees(q, k) for k in tokens] for q in tokens])


def test_two_streams_of_xlnet() -> None:
    """Yang et al. 2019, section 2.3, as loops: the query stream sees earlier content, never its own."""
    order = [2, 0, 5, 1, 4, 3]  # the place told at each turn
    turn = [order.index(place) for place in range(6)]
    tokens = [("content", t) for t in turn] + [("query", t) for t in turn]

    def sees(i: int, j: int) -> bool:
        (asker, own), (asked, other) = tokens[i], tokens[j]
        if asked == "query":
            return i == j
        return other <= own if asker == "content" else other < own

    layout = Layout.of(
        document=[0] * 12,
        step=turn * 2,
        group=[0] * 6 + [t + 1 for t in turn],
        position=[*range(6), *range(6)],
    )
    mask = ordered.matrix(layout)
    assert np.array_equal(mask, [[sees(i, j) for j in range(12)] for i in range(12)])
    closure = reachable(mask)
    assert not any(closure[6 + place, place] for place in range(6))


def test_the_hidden_places_of_mass() -> None:
    """Song et al. 2019, section 3.2: c, d and e are cut out. The source shows [MASK] there, seen by the source only;
    the decoder, laid behind, reads the words before its own and all of the source but those [MASK]s.
    """
    source, decoder = [0] * 6, [1, 2, 3]
    layout = Layout.of(
        document=[0] * 9,
        step=source + decoder,
        position=[0, 1, 2, 3, 4, 5, 2, 3, 4],
        hidden=[0, 0, 1, 1, 1, 0, 0, 0, 0],
    )
    expected = matrix("""
        1 1 1 1 1 1 0 0 0
        1 1 1 1 1 1 0 0 0
        1 1 1 1 1 1 0 0 0
        1 1 1 1 1 1 0 0 0
        1 1 1 1 1 1 0 0 0
        1 1 1 1 1 1 0 0 0
        1 1 0 0 0 1 1 0 0
        1 1 0 0 0 1 1 1 0
        1 1 0 0 0 1 1 1 1
    """)
    assert np.array_equal(ordered.matrix(layout), expected)


def test_the_streams_of_bang() -> None:
    """BANG (Qi et al. 2021): the query of stream s at place t reads the true words before place t - s + 1
    and the queries of the streams before it, which stand at the places between; the rule needs one addition.
    """
    words, streams = 4, 3
    queries = [(s, t) for s in range(1, streams + 1) for t in range(words) if t - s + 1 >= 0]
    prefix = [t - s + 1 for s, t in queries]  # how many true words it reads
    layout = Layout.of(
        document=[0] * (words + len(queries)),
        step=[*range(words), *prefix],
        group=[0] * words + [1] * len(queries),
        position=[*range(words), *(t for _, t in queries)],
    )
    mask = (ordered & (text_key | ~ahead)).matrix(layout)
    for i, (s, t) in enumerate(queries):
        for k in range(words):
            assert mask[words + i, k] == (k < t - s + 1)
        for j, (other, place) in enumerate(queries):
            assert mask[words + i, words + j] == (other <= s and place - other == t - s)


@given(layouts(longest=8))
def test_reachable_is_what_chains_of_sight_reach(layout: Layout) -> None:
    mask = ordered.matrix(layout)
    chains = np.linalg.matrix_power(mask.astype(np.int64), len(mask)) > 0
    assert np.array_equal(reachable(mask), chains)


def test_a_chain_of_two_is_found() -> None:
    direct = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=bool)
    assert reachable(direct)[0].all()
