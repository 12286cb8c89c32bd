"""Rows for the eye."""

from __future__ import annotations

import re
from collections.abc import Callable

from bothways.corpus import Shards, show_rows
from tests.corpus.conftest import sentences


def test_rows_show_documents_positions_and_words(make: Callable[..., Shards]) -> None:
    shards = make(sentences(100))
    shown = show_rows(shards, count=3, length=40)
    assert re.match(r"\d+ rows of 40 an epoch\n\nrow 0\n  document 0, positions 0-\d+: \|\[CLS\]", shown)
    assert shown.count("row ") == 3
    assert "| river" in shown
    assert "|世" in shown
    assert shown == show_rows(shards, count=3, length=40)
