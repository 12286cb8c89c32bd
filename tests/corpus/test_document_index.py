"""Documents by language: what is written down of them, and what is read at a place of the stream."""

from __future__ import annotations

import numpy as np
import pytest

from bothways.corpus.document_index import RECORD, Table, records


@pytest.fixture
def table() -> Table:
    """[CLS] a b [SEP] in 2; a pair [CLS] c [SEP] d e f [SEP] in 0 and 1; [CLS] [SEP] in 1."""
    written = [
        records(np.array([4]), np.array([0]), (2,)),
        records(np.array([7]), np.array([3]), (0, 1)),
        records(np.array([2]), np.array([0]), (1,)),
    ]
    content = b"".join(record.tobytes() for record in written)
    assert len(content) == 10 * 3 == RECORD.itemsize * 3
    return Table.read(np.frombuffer(content, dtype=np.uint8))


def test_where_documents_begin_and_pairs_part(table: Table) -> None:
    assert table.starts.tolist() == [0, 4, 11, 13]
    assert table.first.tolist() == [0, 3, 0]
    assert table.pair.tolist() == [False, True, False]


def test_the_language_of_every_place(table: Table) -> None:
    assert table.languages(np.arange(13)).tolist() == [2, 2, 2, 2, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert table.languages(np.array([10, 3, 4])).tolist() == [1, 2, 0]
