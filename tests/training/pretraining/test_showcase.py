"""What a finished run says of text it never saw: what its objective taught, of whole sentences, cut between words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bothways.batch import Row
from bothways.model import Abilities
from bothways.text import Tokenizer, train_tokenizer
from bothways.training.pretraining.showcase import Sentence, samples
from tests.inference.made import CAUSAL, CHINESE, ENGLISH, HYBRID, MLM, REVERSED, UNILM1, load, make_run, tokenizer

NOTHING = {"fills": [], "continuations": []}


def row_of(*documents: str, own: Tokenizer | None = None) -> Row:
    """[CLS] text [SEP] [CLS] text ...: the last document goes on behind the row's end."""
    own = own or tokenizer()
    vocabulary = own.vocabulary
    laid = [np.array([vocabulary.cls, *own.encode(text), vocabulary.sep], dtype=np.int32) for text in documents]
    laid[-1] = laid[-1][:-1]
    tokens = np.concatenate(laid)
    document = np.repeat(np.arange(len(laid), dtype=np.int32), [len(one) for one in laid])
    return Row(tokens, document, own.word_starts(tokens))


@pytest.mark.parametrize(
    ("trained", "fills", "continues"),
    [
        (CAUSAL, False, True),
        (HYBRID, True, True),
        (MLM, True, False),
        (Abilities("mlm", ("encoder",), "in place", {"unmask": 0}), True, True),
        (UNILM1, True, True),
        (REVERSED, False, True),
    ],
    ids=lambda value: value.objective if isinstance(value, Abilities) else "",
)
def test_what_was_taught_is_shown(trained: Abilities, fills: bool, continues: bool, tmp_path: Path) -> None:
    """Whole sentences only: what the row's edges may have cut is left out."""
    sentence = "The quick brown fox with small eyes jumps over some lazy dogs."
    found = samples(load(make_run(tmp_path / "run", trained)), [row_of(f"{ENGLISH[1]} {sentence} {ENGLISH[0]}")])
    assert bool(found["fills"]) == fills
    assert bool(found["continuations"]) == continues
    for told in found["continuations"]:
        assert (str.endswith if trained is REVERSED else str.startswith)(told["text"], told["prompt"])


def test_text_without_a_whole_sentence_shows_nothing(tmp_path: Path) -> None:
    found = samples(load(make_run(tmp_path / "run")), [row_of("the 7th boat went down the river with no salt")])
    assert found == NOTHING


@pytest.mark.parametrize(
    "documents",
    [
        ("A plane is taking off.", "Two dogs run.", "The man plays a flute.", "A woman is slicing an onion."),
        ("苹果手机降价", "今天天气很好", "我想听音乐", "公园里有一座山"),
        ("날씨가 매우 좋다", "우리는 공원에 간다", "산 위에 절이 있다", "개가 뛰어간다"),
    ],
    ids=["english", "chinese", "korean"],
)
def test_short_documents_are_shown_whole(documents: tuple[str, ...], tmp_path: Path) -> None:
    """The first of a row may have been cut at its beginning, the last at its end."""
    edges = "what a row's edge has cut", "what the next row's edge will cut"
    own = train_tokenizer([*documents, *edges] * 8, size=400)
    found = samples(load(make_run(tmp_path / "run", own=own)), [row_of(edges[0], *documents, edges[1], own=own)])
    filled = [told["text"].replace("[MASK]", told["hidden"]) for told in found["fills"]]
    assert filled == list(documents)
    assert len(found["continuations"]) == len(documents)


def test_sentences_of_some_words_come_before_short_ones(tmp_path: Path) -> None:
    long = [f"The quick brown fox jumps over the lazy dog {word}." for word in ("once", "upon", "time", "read")]
    own = train_tokenizer(long * 8, size=500)
    row = row_of("cut", *long, "The dog.", "The quick fox.", "cut", own=own)
    found = samples(load(make_run(tmp_path / "run", own=own)), [row])
    assert [told["text"].replace("[MASK]", told["hidden"]) for told in found["fills"]] == long


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (
            "他说：“今天天气很好。”我们去公园散步。从前有一座山！）山上有一座庙。今天",
            ["我们去公园散步。", "从前有一座山！）", "山上有一座庙。"],
        ),
        (
            'He said: "The fox jumps." Nobody saw it. (The dog did.) Reading is seeing. The end is',
            ["Nobody saw it.", "(The dog did.)", "Reading is seeing."],
        ),
    ],
    ids=["chinese", "english"],
)
def test_a_closing_quote_belongs_to_the_sentence_before_it(text: str, whole: list[str], tmp_path: Path) -> None:
    own = train_tokenizer([text] * 8, size=400)
    found = samples(load(make_run(tmp_path / "run", own=own)), [row_of(text, own=own)])
    assert [told["text"].replace("[MASK]", told["hidden"]) for told in found["fills"]] == whole


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
@pytest.mark.parametrize("text", [*ENGLISH, *CHINESE])
def test_prompts_are_cut_between_words(text: str, kind: str) -> None:
    sentence = Sentence.of(text, tokenizer(kind))
    first, second = sentence.half(second=False), sentence.half(second=True)
    assert first + text[len(first) :][: -len(second)] + second == text
    assert text[len(first) :][: -len(second)] in ("", " ")
    words = [text[begin:end] for begin, end in sentence.words]
    assert all(word.isalpha() for word in words) and any(second.startswith(word) for word in words)
    assert abs(len(first) - len(text) / 2) < 8
    masked, word = sentence.masked
    assert masked.replace("[MASK]", word) == text and word in words
