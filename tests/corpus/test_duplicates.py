"""What a document's hash decides."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bothways.corpus.duplicates import Seen, copies, hash_documents, in_validation

HASHES = hash_documents([b"document %d" % i for i in range(20_000)])


@given(batches=st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=12))
def test_seen_is_a_set(batches: list[list[int]]) -> None:
    seen, known = Seen(), set[int]()
    for batch in batches:
        expected = []
        for number in batch:
            expected.append(number not in known)
            known.add(number)
        assert seen.add(np.array(batch, dtype=np.uint64)).tolist() == expected


def test_seen_holds_eight_bytes_a_document() -> None:
    seen = Seen()
    for batch in np.split(HASHES, 200):
        seen.add(batch)
    assert sum(run.nbytes for run in seen._sorted) == HASHES.nbytes
    assert len(seen._sorted) < 12


def test_the_share_held_out_is_the_share_asked_for() -> None:
    assert abs(in_validation(HASHES, 0.05).mean() - 0.05) < 0.005
    assert (in_validation(HASHES, 0.05) <= in_validation(HASHES, 0.1)).all()


def test_weights_are_met_on_average_and_apart_from_the_split() -> None:
    for weight in (0.25, 1.0, 2.5):
        times = copies(HASHES, weight)
        assert set(times.tolist()) <= {int(weight), int(weight) + 1}
        assert abs(times.mean() - weight) < 0.02
        assert abs(times[in_validation(HASHES, 0.2)].mean() - weight) < 0.03
