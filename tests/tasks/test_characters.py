"""Names that begin or end inside what has no space: characters as words, and words with their places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bothways
from bothways.errors import DataError
from bothways.tasks import TASKS
from bothways.tasks.encoding import encode_words
from bothways.tasks.reading import read_examples, streamed
from bothways.tasks.records import refuse
from bothways.tasks.words import Words
from bothways.text import Tokenizer, train_tokenizer
from bothways.training.finetuning import evaluate, finetune, predict
from bothways.training.run_folder import RunFolder
from tests.inference.made import make_run, tokenizer
from tests.tasks.conftest import config, write

CITIES, PARTICLES = ("서울", "부산", "대전", "제주"), ("에서", "까지", "은", "의")
TEXTS = ("서울에서 부산까지 갔다", "وكتاب والرجل", "東京都に行った", "ภาษาไทย", "The Quick fox")


def read(file: Path, task: str = "tag") -> Any:
    return read_examples(TASKS[task], file, skip=refuse)[1]


def journeys(**more: Any) -> list[dict[str, Any]]:
    """The city ends before its particle, within one spaced word."""
    return [
        {"text": f"{city}{particle} 갔다", "spans": [{"start": 0, "end": 2, "label": "LOC"}], **more}
        for city in CITIES
        for particle in PARTICLES
    ]


@pytest.fixture(scope="module")
def traveller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("korean")
    train = write(folder / "journeys.jsonl", *journeys(characters=True))
    body = make_run(folder / "body")
    return finetune(config(folder, body, task="tag", train=train, dev=train, epochs=30, learning_rate=1e-2))


def test_a_name_ends_before_its_particle(traveller: Path, tmp_path: Path) -> None:
    """In all ways of asking: a record need not say that its characters are words, as the model knows it."""
    text = "제주에서 갔다"
    (name,) = bothways.load(traveller, device="cpu").tag(text).entities
    assert (name.text, name.start, name.end, name.label) == ("제주", 0, 2, "LOC")
    predict(traveller, write(tmp_path / "new.jsonl", {"text": text}), tmp_path / "out.jsonl")
    said = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert [(one["start"], one["end"]) for one in said["entities"]] == [(0, 2)] and said["words"] == [*"제주에서갔다"]
    assert 'model.tag("Some text.").entities' in (traveller / "model" / "README.md").read_text(encoding="utf-8")
    assert evaluate(traveller, write(tmp_path / "test.jsonl", *journeys()))["f1"] == 1.0


def test_what_was_taught_otherwise_is_refused(traveller: Path, tagger: Path, tmp_path: Path) -> None:
    words = write(tmp_path / "words.jsonl", {"text": "서울 갔다", "characters": False})
    with pytest.raises(DataError, match="line 1: expected its characters, as the model was trained on, got the words"):
        predict(traveller, words, tmp_path / "out.jsonl")
    letters = write(tmp_path / "letters.jsonl", {"text": "Mr Fox", "characters": True})
    with pytest.raises(DataError, match="line 1: expected the words of a text, as the model was trained on, got its"):
        predict(tagger, letters, tmp_path / "out.jsonl")
    mixed = [*journeys(characters=True), {"text": "서울 갔다", "spans": []}]
    told = config(tmp_path, traveller, task="tag", train=write(tmp_path / "a.jsonl", *mixed))
    with pytest.raises(DataError, match='a.jsonl, line 17: expected "characters" true, as in the records before'):
        finetune(told)
    with pytest.raises(DataError, match="line 1: field 'characters': expected true or false, got 'yes'"):
        read(write(tmp_path / "b.jsonl", {"text": "x", "spans": [], "characters": "yes"}))


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
@pytest.mark.parametrize("text", TEXTS)
def test_every_character_has_a_token_of_its_own(kind: str, text: str) -> None:
    """Else two characters would have one state, and could never be told apart."""
    own = train_tokenizer(TEXTS * 8, kind=kind, size=600)
    words = Words.of(text, characters=True)
    assert "".join(words[i] for i in range(len(words))) == text.replace(" ", "")
    (part,) = encode_words(own, words, length=64)
    assert part.of.tolist() == list(range(len(words))) and len(np.unique(part.at)) == len(words)
    assert own.vocabulary.unk not in part.tokens
    if kind == "bpe":
        assert own.decode(part.tokens) == text
    elif text[0] not in "東":  # ideographs begin a word each: only what goes on without a space is said to go on
        inside = [own.is_inside(int(token)) for token in part.tokens[part.at]]
        ends, begins = [-1, *words.spans[:-1, 1].tolist()], words.spans[:, 0].tolist()
        assert inside == [end == begin for end, begin in zip(ends, begins, strict=True)]


@pytest.mark.parametrize("kind", ["xlm_roberta", "llama", "roberta", "bert"])
@pytest.mark.parametrize("text", ["the dog", "thedog dog the", "adog xthe Thedogs", "dog  the"])
def test_a_word_begins_where_it_did(kind: str, text: str, tmp_path: Path) -> None:
    """Spelt by characters, the text has no more signs that a word begins than before (SentencePiece's)."""
    pytest.importorskip("transformers", reason="needs the extra bothways[hf]")
    from tests.text.folders import FOLDERS

    FOLDERS[kind](tmp_path)
    own = Tokenizer.load(tmp_path)
    (part,) = encode_words(own, Words.of(text, characters=True), length=64)
    spelt = [own.tokens(tokens) for tokens in (part.tokens, own.frame.around(np.array(own.encode(text)))[0])]
    assert len(spelt[0]) > len(spelt[1])
    assert len({"".join(tokens).replace("##", "") for tokens in spelt}) == 1


def test_words_with_their_places_end_where_they_say(tmp_path: Path) -> None:
    record = {"text": "서울에서 만났다", "offsets": [[0, 2], [2, 4], [5, 8]], "tags": ["B-LOC", "O", "O"]}
    (example,) = read(write(tmp_path / "a.jsonl", record))
    assert [example.words[i] for i in range(3)] == ["서울", "에서", "만났다"] and example.gold == ("B-LOC", "O", "O")
    own = train_tokenizer(["서울에서 서울 만났다", "부산에서 갔다"] * 8, kind="wordpiece", size=600)
    assert own.tokens(own.encode("서울에서")) == ["서울에서"]
    (part,) = encode_words(own, example.words, length=64)
    assert own.tokens(part.tokens[1:-1]) == ["서울", "##에서", "만났다"] and part.at.tolist() == [1, 2, 3]
    apart = "cafe\u0301에서"  # places are those of the text as it was given
    (example,) = read(write(tmp_path / "b.jsonl", {"text": apart, "offsets": [[0, 5], [5, 7]], "tags": ["A", "B"]}))
    assert [example.words[i] for i in range(2)] == ["cafe\u0301", "에서"]
    assert example.words.spans.tolist() == [[0, 4], [4, 6]]


@pytest.mark.parametrize(
    ("offsets", "said"),
    [
        ([[0, 2], [1, 3]], "expected words of the text, one behind the other, got characters 1 to 3"),
        ([[0, 2], [6, 9]], "got characters 6 to 9"),
        ([[0, 2], [2, 2]], "got characters 2 to 2"),
        ([[0, 2], [4, 5]], "got characters 4 to 5"),
        ([[0, 2], 3], r"expected places of words, as \[0, 5\], got 3"),
        ([], r"expected the places of words, \[\[0, 5\], ...\], got \[\]"),
        ([[0, 2]], "expected as many tags as words"),
    ],
)
def test_places_that_cannot_be(offsets: Any, said: str, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"text": "서울에서 만났", "offsets": offsets, "tags": ["B-LOC", "O"]})
    with pytest.raises(DataError, match=rf"a.jsonl, line 1: field '\w+': .*{said}"):
        read(file)


def test_offsets_without_a_text_are_not_read() -> None:
    """As the `tokenizers` library leaves them beside tokens."""
    roles = TASKS["tag"].roles({"tokens", "tags", "offset_mapping"}, gold=True)
    assert roles == (("tokens", "tags"), ("id",))


def test_spans_count_where_tokens_have_no_tags(tmp_path: Path) -> None:
    """As Prodigy writes them: its tokens are objects, and nothing in the file is a tag."""
    cut = [{"text": "Mr", "start": 0, "end": 2, "id": 0}, {"text": "Fox", "start": 3, "end": 6, "id": 1}]
    spans = [{"start": 3, "end": 6, "token_start": 1, "token_end": 1, "label": "PER"}]
    record = {"text": "Mr Fox", "tokens": cut, "spans": spans, "answer": "accept"}
    file = write(tmp_path / "a.jsonl", record)
    columns, (example,) = read_examples(TASKS["tag"], file, skip=refuse)
    assert columns.names == {"text": "text", "spans": "spans"} and example.gold == ("O", "B-PER")
    (asked,) = streamed(TASKS["tag"], file, skip=refuse, gold=False)[1]
    assert [asked.words[i] for i in range(2)] == ["Mr", "Fox"]
    tags = write(tmp_path / "b.jsonl", {**record, "tokens": ["Mr", "Fox"], "tags": ["O", "B-ORG"]})
    assert read(tags)[0].gold == ("O", "B-ORG")


def test_what_a_model_was_trained_on_is_read_whatever_stands_beside_it(tmp_path: Path) -> None:
    """Spans beside the words of a file, which nobody asked for, had its text parted anew."""
    words, parted = ["Mr", "Lazy-Fox"], ["Mr", "Lazy", "-", "Fox"]
    record, tags = {"text": "Mr Lazy-Fox", "tokens": words, "entities": []}, {"tags": ["O", "B-PER"]}
    for usual, gold, expected in (
        ({"tokens": "tokens", "tags": "tags"}, {}, words),
        ({"text": "text", "spans": "entities"}, {}, parted),
        ({"text": "text", "spans": "entities"}, tags, parted),
        ({"text": "text", "offsets": "gone", "tags": "tags"}, tags, words),
    ):
        file = write(tmp_path / "a.jsonl", record | gold)
        _, (one,) = streamed(TASKS["tag"], file, skip=refuse, usual=usual, gold=bool(gold))
        assert [one.words[i] for i in range(len(one.words))] == expected


def test_half_a_letter_is_no_word(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"text": "cafe\u0301", "offsets": [[0, 4], [4, 5]], "tags": ["A", "B"]})
    with pytest.raises(DataError, match="field 'offsets': expected words of whole letters"):
        read(file)


def test_slots_may_be_of_characters(tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", *(one | {"intent": "go"} for one in journeys(characters=True)))
    body = make_run(tmp_path / "body")
    run = finetune(config(tmp_path, body, task="intent", train=train, dev=train, epochs=1))
    assert bothways.load(run, device="cpu").intent("서울 x").words == ["서", "울", "x"]
    assert RunFolder(run).manifest()["tags"] == "BIO, as in 'B-LOC'; names: LOC"


def test_words_of_the_text_are_tokenized_as_ever() -> None:
    """Whole words keep the tokens that the body was trained on."""
    own = tokenizer("wordpiece")
    words = Words.of("The quick brown fox")
    (part,) = encode_words(own, words, length=64)
    assert part.tokens[1:-1].tolist() == own.encode("The quick brown fox")
