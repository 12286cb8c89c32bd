"""Whole words from shards: spelled as in the text, counted, in documents; and what the vocabulary refuses."""

from __future__ import annotations

import re
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bothways.corpus import PrepareOptions, Shards, prepare
from bothways.errors import DataError
from bothways.word_vectors import words as module
from bothways.word_vectors.words import WordCounts, WordText, read_words

LINES = [
    "The old boat wasn't wide; the river was 12 miles long, and slow.",
    "THE RIVER (slow!) came\tdown from the hills in 1872, over stones.",
    "Une rivière très étroite, naïve façade; the boat — “slow” — came down.",
    "河水很慢，船顺流而下。the river 很宽。",
    "... !!! ?",
]


def shards(folder: Path, lines: list[str], **options: Any) -> Shards:
    """Each line ten times, numbered, in some two fifths of the cases held out."""
    text = "\n\n".join(
        f"{line} {number}" if line[0] != "." else f"{line}{'.' * number}" for number in range(10) for line in lines
    )
    (folder / "a.txt").write_text(text, encoding="utf-8")
    given = PrepareOptions(vocabulary=512, validation=0.4, **options)
    prepare([str(folder / "a.txt")], out=folder / "shards", options=given)
    return Shards.open(folder / "shards")


def in_words(words: WordCounts, text: WordText) -> list[list[str]]:
    """Document by document."""
    cuts = np.flatnonzero(np.diff(text.documents)) + 1
    return [[words.spelled[number] for number in part] for part in np.split(text.words, cuts)]


def by_regular_expression(line: str) -> list[str]:
    return re.findall(r"[一-鿿]|[^\W\d_一-鿿]+(?:'t)?|\d+", line)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
@pytest.mark.parametrize("block", [7, 1 << 22])
def test_words_are_those_of_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, block: int) -> None:
    """Whatever the tokenizer cut them into, and wherever a block of tokens ends."""
    monkeypatch.setattr(module, "_BLOCK", block)
    lines = [line.replace("wasn't", "was") for line in LINES] if kind == "wordpiece" else LINES  # BERT cuts there
    words, *texts = read_words(shards(tmp_path, lines, kind=kind), min_count=1, lowercase=False)
    expected = {tuple(by_regular_expression(line)) for line in lines[:-1]}
    train, held_out = ([(document[:-1], document[-1]) for document in in_words(words, text)] for text in texts)
    assert {tuple(document) for document, _ in train} == expected and len(train) == len({*map(str, train)})
    assert {tuple(document) for document, _ in held_out} == expected
    counted = Counter(word for document, number in train for word in (*document, number))
    assert dict(zip(words.spelled, words.counts.tolist(), strict=True)) == counted
    assert words.counts.tolist() == sorted(words.counts.tolist(), reverse=True)


def test_lower_case_and_the_rare(tmp_path: Path) -> None:
    made = shards(tmp_path, LINES)
    all_words, text, _ = read_words(made, min_count=1, lowercase=False)
    counted = Counter(word.lower() for document in in_words(all_words, text) for word in document)
    words, text, _ = read_words(made, min_count=8, lowercase=True)
    expected = {word: count for word, count in counted.items() if count >= 8}
    assert dict(zip(words.spelled, words.counts.tolist(), strict=True)) == expected
    assert len(text.words) == words.counts.sum() and "THE" in all_words.spelled and "the" in expected


def test_one_long_word_takes_its_own_memory_alone(tmp_path: Path) -> None:
    """A run of letters (DNA, say) among many words: each took the room of the longest."""
    rng = np.random.default_rng(0)
    many = sorted({"".join(letters) for letters in rng.choice([*"acgt"], (3000, 6))})
    made = shards(tmp_path, [" ".join(many), "x" * 20_000])
    assert made.tokenizer.vocabulary.size == 512  # read: what that takes is not measured
    tracemalloc.start()
    words, *_ = read_words(made, min_count=2, lowercase=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "x" * 20_000 in words.spelled and {*many} <= {*words.spelled}
    alike = {
        count: [w for w, c in zip(words.spelled, words.counts, strict=True) if c == count] for count in words.counts
    }
    assert [*words.spelled] == [word for count in sorted(alike, reverse=True) for word in sorted(alike[count])]
    assert peak < 40e6


def test_chinese_words_are_jiebas(tmp_path: Path) -> None:
    pytest.importorskip("jieba")
    words, text, _ = read_words(shards(tmp_path, LINES, words="jieba"), min_count=1, lowercase=False)
    assert any({"河水", "顺流而下", "the"} <= set(document) for document in in_words(words, text))


def test_no_word_is_left(tmp_path: Path) -> None:
    made = shards(tmp_path, LINES)
    with pytest.raises(
        DataError, match=r"at least 1000 times, got the commonest, 'the', [0-9]+\. .*smaller --min-count"
    ):
        read_words(made, min_count=1000, lowercase=False)


def test_a_text_without_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got there is none"):
        read_words(shards(tmp_path, LINES[-1:]), min_count=1, lowercase=False)
