"""Words and their characters: every tag lands on its word, whatever the tokenizer and however long the text."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score

from bothways.batch import Batch
from bothways.errors import UsageError
from bothways.model import TaskHead
from bothways.tasks import TASKS
from bothways.tasks.encoding import encode_texts, encode_words
from bothways.tasks.packing import pack, rows_of
from bothways.tasks.schemes import scheme_of
from bothways.tasks.words import Words, entities
from tests.inference.made import tokenizer

ANSWERS = TaskHead("tag", "tags", ("O", "B-A", "I-A"), "one", "encoder")


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
@pytest.mark.parametrize("length", [16, 64])
@pytest.mark.parametrize(
    "text",
    ["The quick brown fox, 42 dogs: 今天天气很好 naïve 🙂!", "a" * 200 + " fox " * 30, "世界" * 40, "हिन्दी, " * 9],
)
def test_every_word_has_the_place_of_its_first_token(kind: str, length: int, text: str) -> None:
    own = tokenizer(kind)
    words = Words.of(text)
    parts = encode_words(own, words, length=length)
    assert all(len(part.tokens) <= length for part in parts)
    told = np.concatenate([part.of for part in parts])
    assert told.tolist() == sorted(set(told.tolist()))
    whole, spans = own.encode_spans(words.read)
    inside = np.concatenate([part.tokens[1:-1] for part in parts])
    assert inside.tolist() == whole.tolist()  # nothing is lost, nothing twice
    place = 0
    for part in parts:
        for at, word in zip(part.at, part.of, strict=True):
            begin, end = spans[place + at - 1]
            assert begin < words.spans[word, 1] and end > words.spans[word, 0]
            assert begin <= words.spans[word, 0]
        place += len(part.tokens) - 2
    if kind == "bpe":
        assert len(told) == len(words)


@given(st.text(min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_words_are_where_they_stand(text: str) -> None:
    try:
        text.encode()
        words = Words.of(text)
    except (UsageError, UnicodeEncodeError):
        return
    assert words.read == unicodedata.normalize("NFC", text)
    for number, (start, end) in enumerate(words.spans.tolist()):
        assert words.read[start:end] == unicodedata.normalize("NFC", words[number])
    ends = words.places.flatten().tolist()
    assert ends == sorted(ends)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("हिन्दी भाषा में।", "हिन्दी भाषा में ।"),
        ("বাংলা, ক্ষমতা ৫০", "বাংলা , ক্ষমতা ৫০"),
        ("\u0915\u093c\u0932\u092e (क़लम)", "\u0915\u093c\u0932\u092e ( क़लम )"),
        ("بِسْمِ می\u200cخواهم", "بِسْمِ می\u200cخواهم"),
        ("അവന്\u200d ภาษาไทย น้ำ", "അവന്\u200d ภาษาไทย น้ำ"),
        ("e\u0323\u0301x\u0301y x\u03012", "e\u0323\u0301x\u0301y x\u0301 2"),
        ("葛\U000e0100城 \u0301a", "葛\U000e0100 城 \u0301 a"),
    ],
)
def test_marks_belong_to_the_word_before_them(text: str, expected: str) -> None:
    words = Words.of(text)
    assert [words[i] for i in range(len(words))] == expected.split(" ")
    assert all(text[start:end] == word for (start, end), word in zip(words.places, expected.split(" "), strict=True))


@given(st.text("aé1_,世 \u0915\u093f\u094d\u0958\u0301\u200c\u200d", max_size=20))
def test_marks_part_nothing(text: str) -> None:
    """Where a text is given as composed: every sign is in one word, and none begins with a mark that has one before."""
    text = unicodedata.normalize("NFC", text)
    words = Words.of(text)
    assert "".join(words[i] for i in range(len(words))) == text.replace(" ", "")
    for start in words.places[:, 0].tolist():
        mark = unicodedata.category(text[start])[0] == "M"
        assert not mark or start == 0 or text[start - 1] == " "


def test_words_that_are_given_are_joined_as_their_script_has_it() -> None:
    words = Words.joined(["我", "爱", "New", "York", "吗", "cafe\u0301"])
    assert words.read == "我爱 New York 吗 café"
    assert [words[i] for i in range(len(words))] == ["我", "爱", "New", "York", "吗", "café"]


def test_names_are_read_as_seqeval_reads_them_and_placed_in_the_text_that_was_given() -> None:
    text = "cafe\u0301 Noir in Paris"
    words = Words.of(text)
    found = list(entities(words, ["B-ORG", "I-ORG", "O", "I-LOC"], scheme_of(("O", "B-ORG", "I-ORG", "I-LOC"))))
    assert [(one.label, one.text, one.start, one.end) for one in found] == [
        ("ORG", "cafe\u0301 Noir", 0, 10),
        ("LOC", "Paris", 14, 19),
    ]
    assert all(text[one.start : one.end] == one.text for one in found)
    assert list(entities(words, ["NN", "NN", "IN", "NN"], scheme_of(("NN", "IN")))) == []


def test_the_scores_are_seqevals() -> None:
    """A name counts only whole: its kind and both its ends."""
    golds = [("B-A", "I-A", "O", "B-B"), ("O", "B-A")]
    said = [["B-A", "I-A", "O", "B-A"], ["B-A", "I-A"]]
    examples: Any = [type("E", (), {"gold": gold}) for gold in golds]
    answers = TaskHead("tag", "tags", ("O", "B-A", "I-A", "B-B"), "one", "encoder")
    scores = TASKS["tag"].score(examples, [{"tags": tags} for tags in said], answers)
    # one right of three said, of three true
    assert scores == pytest.approx({"f1": 1 / 3, "precision": 1 / 3, "recall": 1 / 3, "accuracy": 3 / 6})
    assert scores["f1"] == f1_score([list(gold) for gold in golds], said)
    value, weight = TASKS["tag"].items(examples, [{"tags": tags} for tags in said], answers)
    assert value.tolist() == [2.0, 0.0] and weight.tolist() == [4.0, 2.0]
    assert value.sum() / weight.sum() == pytest.approx(scores["f1"])


@given(st.lists(st.integers(3, 300), min_size=1, max_size=50))
def test_rows_hold_every_example_once_and_are_filled_up_to_the_longest(lengths: list[int]) -> None:
    rows = rows_of(lengths)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    room = max(96, *lengths)
    assert max(sum(lengths[i] for i in row) for row in rows) <= room
    assert len(rows) * 64 < 2 * sum(lengths) + 2 * room  # any two rows hold more than one has room for


def test_examples_of_a_row_do_not_see_each_other() -> None:
    examples = [encode_texts(tokenizer(), (text,), length=64) for text in ("The quick fox", "a", "lazy dog")]
    answers = TaskHead("classify", "label", ("a", "b"), "one", "encoder")
    packed = pack([example.sample(answers) for example in examples])
    batch: Batch = packed.batch
    owners = [owner for owner, _, _ in packed.places["label", "classify"]]
    assert len(batch.tokens) == 1 and sorted(owners) == [0, 1, 2]
    (target,) = batch.targets
    for (at, last), owner in zip(np.asarray(target.at).tolist(), owners, strict=True):
        own = batch.tokens[0, at : last + 1]
        assert own.tolist() == examples[owner].tokens.tolist()
        assert batch.layout.position[0, at] == 0
    assert len(np.unique(batch.layout.document[0][batch.layout.real[0]])) == 3


def test_the_longer_of_two_texts_is_cut() -> None:
    own = tokenizer()
    encoded = encode_texts(own, ("a", "the dog " * 40), length=32)
    assert len(encoded.tokens) == 32 and encoded.cut == len(own.encode("a")) + len(own.encode("the dog " * 40)) + 3 - 32
    assert encoded.tokens[1] == own.encode("a")[0] and encoded.segments.tolist()[-1] == 1
