"""What a page says of shards is what is in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import bothways
from bothways.corpus import PrepareOptions, Shards
from bothways.corpus.counts import Counts, by_length, count, summary
from bothways.corpus.page import corpus_report


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder: Path = tmp_path_factory.mktemp("corpus")
    lines = [f"The fox number {n} jumps over {'the lazy dog ' * (n % 7)}." for n in range(300)]
    (folder / "text.txt").write_text("\n\n".join([*lines, *lines[:20]]), encoding="utf-8")
    bothways.prepare([str(folder / "text.txt")], out=folder / "shards", options=PrepareOptions(vocabulary=600))
    return Shards.open(folder / "shards")


def test_counts_are_those_of_the_documents(shards: Shards) -> None:
    found = count(shards, shards.train)
    tokens, starts = shards.train.read(0, shards.train.token_count)
    text = ~np.isin(tokens, sorted(shards.vocabulary.special))
    assert len(found.lengths) == shards.manifest.train.documents
    assert found.lengths.sum() == shards.train.token_count
    assert found.text == text.sum() == found.tokens.sum()
    assert found.words == (starts & text).sum()


def test_padding_by_hand() -> None:
    counts = Counts(np.array([10, 30, 65]), words=1, text=1, tokens=np.ones(1, dtype=int))
    assert counts.padded(64) == pytest.approx(1 - 105 / (4 * 64))


def test_a_beginning_counts_whole_documents_only(shards: Shards) -> None:
    whole, some = count(shards, shards.train), count(shards, shards.train, at_most=1000)
    assert 0 < some.lengths.sum() <= 1000 < some.lengths.sum() + whole.lengths[len(some.lengths)]
    assert some.lengths.tolist() == whole.lengths[: len(some.lengths)].tolist()


def test_lengths_by_hand() -> None:
    assert by_length(np.array([2, 3, 4, 7, 16])) == {2: 2, 4: 2, 8: 0, 16: 1}
    assert by_length(np.array([], dtype=int)) == {1: 0}


def test_a_summary_is_json_and_says_what_was_left_out(shards: Shards) -> None:
    found = json.loads(json.dumps(summary(shards, count(shards, shards.train))))
    assert found["duplicates"] == 20 and sum(found["lengths"].values()) == found["documents"]
    assert found["tokens_per_word"] >= 1


def test_a_page_says_what_was_left_out_and_stands_alone(shards: Shards) -> None:
    page = corpus_report(shards, "mine")
    assert "<td>20</td>" in page and shards.fingerprint in page  # duplicates
    assert page.count("<rect") > 1 and "src=" not in page
