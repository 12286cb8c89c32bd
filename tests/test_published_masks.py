"""The rule against published masks: UniLMs, block diffusion, XLNet, MASS, BANG. 1 = may see; a row is a query."""

from __future__ import annotations

import numpy as np
import pytest

from bothways.visibility import Layout, ahead, ordered, reachable, text_key
from tests.test_visibility import matrix, six

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
