"""A budget in words: exactly so many are drawn, of all sources alike, and what is held out stays held out."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from bothways.corpus import PrepareOptions, prepare
from bothways.corpus.duplicates import hash_documents, in_validation
from bothways.corpus.sources import find_sources
from bothways.corpus.words import WordSample, draw_words, word_starts
from bothways.errors import DataError, UsageError

OPTIONS = PrepareOptions(vocabulary=512, validation=0.1)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two files; in each word stands from which it is."""
    folder, rng = tmp_path_factory.mktemp("words"), random.Random(0)
    for name, count in (("one", 300), ("two", 100)):
        texts = (" ".join(f"{name}{rng.randrange(500)}" for _ in range(rng.randint(5, 40))) for _ in range(count))
        (folder / f"{name}.txt").write_text("\n\n".join(texts), encoding="utf-8")
    return [str(folder / f"{name}.txt") for name in ("one", "two")]


def drawn(sources: list[str], out: Path, count: int, seed: int = 0) -> tuple[WordSample, list[str], list[str]]:
    """What was drawn, the documents to train on, and those that are held out."""
    told = draw_words(find_sources(sources), OPTIONS, count=count, out=out, seed=seed)
    texts = [json.loads(line)["text"] for line in out.read_text(encoding="utf-8").splitlines()]
    held = in_validation(hash_documents([text.encode() for text in texts]), OPTIONS.validation)
    train, out_of_it = ([one for one, it in zip(texts, held, strict=True) if it == which] for which in (False, True))
    return told, train, out_of_it


@pytest.mark.parametrize("count", [1, 2, 37, 1000, 2500])
def test_exactly_so_many_words_and_the_same_are_held_out(count: int, sources: list[str], tmp_path: Path) -> None:
    told, train, held = drawn(sources, tmp_path / "text.jsonl", count)
    assert told.words == sum(len(text.split()) for text in train) == count
    assert (told.documents, told.held_out) == (len(train), len(held))
    prepare(sources, out=tmp_path / "all", options=OPTIONS)
    every = prepare([str(tmp_path / "text.jsonl")], out=tmp_path / "shards", options=OPTIONS)
    assert every.train.documents == len(train) and every.validation.documents == len(held)


def test_a_smaller_budget_is_part_of_a_larger_one_and_sources_are_in_proportion(
    sources: list[str], tmp_path: Path
) -> None:
    _, less, _ = drawn(sources, tmp_path / "less.jsonl", 1000)
    _, more, _ = drawn(sources, tmp_path / "more.jsonl", 4000)
    assert len({*less} - {*more}) <= 1  # the one that was cut
    assert 0.6 < sum(text.startswith("one") for text in more) / len(more) < 0.9
    _, others, _ = drawn(sources, tmp_path / "others.jsonl", 1000, seed=1)
    assert {*others} != {*less}


def test_too_few_words_are_counted_and_nothing_is_written(sources: list[str], tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"expected 1,000,000 words to train on, found \d,\d{3} in 3\d\d .*--words \d+$"
    ):
        drawn(sources, tmp_path / "text.jsonl", 1_000_000)
    assert not (tmp_path / "text.jsonl").exists()


@pytest.mark.parametrize("how", ["{}=2", "en={}"])
def test_a_weight_or_a_language_is_refused(how: str, sources: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="counts each text once"):
        drawn([how.format(sources[0])], tmp_path / "text.jsonl", 10)


def test_words_of_chinese_are_characters_or_those_of_jieba() -> None:
    text = "我们喜欢 Python 语言"
    assert [text[i] for i in word_starts(text, "spaces")] == [*"我们喜欢", "P", *"语言"]
    pytest.importorskip("jieba")
    assert [text[i] for i in word_starts(text, "jieba")] == ["我", "喜", "P", "语"]
