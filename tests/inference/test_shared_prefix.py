"""Rows that share their beginning are read once up to there, and say what each alone would have said."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bothways.inference import LanguageModel
from bothways.inference.shared_prefix import LONGEST, read_shared, share_prefixes

ROWS = st.lists(st.lists(st.integers(5, 8), min_size=0, max_size=12), min_size=1, max_size=12)


@given(rows=ROWS)
def test_every_row_is_behind_one_prefix_and_whole(rows: list[list[int]]) -> None:
    made = [np.array([2, *row], dtype=np.int64) for row in rows]
    found = share_prefixes(made)
    assert sorted(number for shared in found for number in shared.rows) == list(range(len(made)))
    for shared in found:
        line = np.full(shared.size(made), -1)
        for number, at in shared.places(made):
            assert set(line[at].tolist()) <= {-1, *made[number].tolist()}
            line[at] = made[number]
        assert (line >= 0).all()
        for number, at in shared.places(made):
            assert line[at].tolist() == made[number].tolist()
    assert sum(shared.size(made) for shared in found) <= sum(map(len, made))


def test_a_pair_shares_its_beginning_and_a_far_neighbour_is_left_alone() -> None:
    rows = [np.array(row) for row in ([2, 5, 6, 7, 8, 8], [2, 5, 6, 7, 8, 9, 9], [2, 5], [2, 9])]
    found = share_prefixes(rows)
    assert [(set(shared.rows), shared.prefix) for shared in found] == [({2}, 2), ({0, 1}, 5), ({3}, 2)]
    long = [np.array([2, 5, *[6] * LONGEST, n]) for n in (7, 8)]
    assert [len(shared.rows) for shared in share_prefixes(long)] == [1, 1]


@settings(max_examples=15, deadline=None)
@given(rows=ROWS)
def test_states_are_those_of_every_row_alone(loaded: LanguageModel, rows: list[list[int]]) -> None:
    made = [np.array([2, *row], dtype=np.int64) for row in rows]
    seen = {}
    for some, states in read_shared(loaded.engine, made):
        for line, shared in enumerate(some):
            seen |= {number: states[line, at] for number, at in shared.places(made)}
    for number, row in enumerate(made):
        alone = loaded.engine.read([row], face="decoder")[0]
        torch.testing.assert_close(seen[number], alone, rtol=1e-4, atol=1e-5)
