"""Tags in every way of writing them: the names are right, or it is said that there are none, or which tag is odd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.errors import DataError
from bothways.model import TaskHead
from bothways.tasks import TASKS
from bothways.tasks.reading import read_examples
from bothways.tasks.records import Skipped, refuse
from bothways.tasks.schemes import scheme_of
from bothways.tasks.tag import tagged as tag_words
from bothways.tasks.words import Words, entities
from bothways.training.finetuning import evaluate, finetune, predict
from bothways.training.run_folder import RunFolder
from tests.tasks.conftest import config, tagged, write

WORDS = ["Ann", "Lee", "met", "Bo", "in", "New", "York", "City"]
NAMES = [("PER", "Ann Lee"), ("PER", "Bo"), ("LOC", "New York City")]
WAYS: dict[str, tuple[str, str]] = {
    "BIO": ("BIO", "B-PER I-PER O B-PER O B-LOC I-LOC I-LOC"),
    "IOB1": ("BIO", "I-PER I-PER O I-PER O I-LOC I-LOC I-LOC"),
    "BIOES": ("BIOES", "B-PER E-PER O S-PER O B-LOC I-LOC E-LOC"),
    "BILOU": ("BILOU", "B-PER L-PER O U-PER O B-LOC I-LOC L-LOC"),
    "BMES": ("BMES", "B-PER E-PER O S-PER O B-LOC M-LOC E-LOC"),
    "BMEWO": ("BMEWO", "B-PER E-PER O W-PER O B-LOC M-LOC E-LOC"),
    "small letters": ("BIO", "b-PER i-PER o b-PER o b-LOC i-LOC i-LOC"),
    "underscores": ("BIO", "B_PER I_PER O B_PER O B_LOC I_LOC I_LOC"),
    "name first": ("BIO", "PER-B PER-I O PER-B O LOC-B LOC-I LOC-I"),
    "name first, BILOU, underscores": ("BILOU", "PER_B PER_L O PER_U O LOC_B LOC_I LOC_L"),
}
PLAIN = [
    "NN VB",
    "N-SG N-PL V-PST O",
    "ADJ-comp N-sg",
    "PER O LOC",
    "E-mail NN O",
    "S-bar I-pron",
    "0 3 7",
    "B-side A-side",
]


@pytest.mark.parametrize("way", WAYS)
def test_names_are_right_however_tags_are_written(way: str) -> None:
    kind, text = WAYS[way]
    tags, words = text.split(), Words.joined(WORDS)
    scheme = scheme_of(tuple(tags))
    assert scheme.kind == kind and not scheme.odd
    assert [(one.label, one.text) for one in entities(words, tags, scheme)] == NAMES
    examples: Any = [type("E", (), {"gold": tuple(tags)})]
    answers = TaskHead("tag", "tags", tuple(sorted({*tags})), "one", "encoder")
    wrong = [*tags[:-1], scheme.outside]  # the city ends too early: two of three names, two of them true
    scores = TASKS["tag"].score(examples, [{"tags": wrong}], answers)
    assert scores["f1"] == pytest.approx(2 / 3) and scores["accuracy"] == pytest.approx(7 / 8)
    value, weight = TASKS["tag"].items(examples, [{"tags": wrong}], answers)
    assert (value.tolist(), weight.tolist()) == ([4.0], [6.0])


PARTS = ["O", "PER", "PER more", "ORG", "ORG more"]


@given(st.sampled_from(sorted(WAYS)), st.lists(st.sampled_from(PARTS), max_size=9))
def test_all_ways_say_the_same(way: str, parts: list[str]) -> None:
    """Any names, written as BIO and in another way, are the same names."""
    bio = [part if part == "O" else f"I-{part[:3]}" if "more" in part else f"B-{part}" for part in parts]
    own, words = scheme_of(("O", "B-PER", "I-PER", "B-ORG", "I-ORG")), Words.joined(["w"] * len(parts))
    names, tags = list(entities(words, bio, own)), ["O"] * len(parts)
    seen = scheme_of(tuple(WAYS[way][1].replace("LOC", "ORG").split()))
    labels = (seen.outside, *seen.forms())
    other = scheme_of(labels)
    written = {other.plain(tag): tag for tag in labels}
    for name in names:
        places = range(name.first, name.last + 1)
        letters = ["B", *["I"] * (len(places) - 1)]
        if "S-ORG" in written:
            letters = ["S"] if len(places) == 1 else [*letters[:-1], "E"]
        for place, letter in zip(places, letters, strict=True):
            tags[place] = f"{letter}-{name.label}"
    assert list(entities(words, [written[tag] for tag in tags], other)) == names


@pytest.mark.parametrize("text", PLAIN)
def test_tags_that_are_no_names_are_said_to_be_none(text: str) -> None:
    tags = text.split()
    scheme = scheme_of(tuple(tags))
    assert scheme.kind == "" and not scheme.odd and str(scheme) == "plain, there are no names in them"
    words = Words.joined(tags)
    answers = TaskHead("tag", "tags", tuple(tags), "one", "encoder")
    assert list(entities(words, tags, scheme)) == []
    example: Any = type("E", (), {"gold": tuple(tags)})
    assert TASKS["tag"].score([example], [{"tags": tags}], answers) == {"accuracy": 1.0}
    assert TASKS["tag"].items([example], [{"tags": tags}], answers)[1].tolist() == [len(tags)]


def test_letters_alone_are_names_without_a_kind() -> None:
    """Chinese words (BMES), key phrases (BIO)."""
    words, tags = Words.joined([*"我爱北京人"]), ["S", "S", "B", "M", "E"]
    assert [one.text for one in entities(words, tags, scheme_of(tuple(tags)))] == ["我", "爱", "北京人"]
    assert scheme_of(("B", "I", "O")).kind == "BIO"


@pytest.mark.parametrize("odd", ["PER", "PER-B", "B_PER", "b-PER", "M-PER", "0", "o"])
def test_a_tag_that_is_written_in_another_way_is_refused_or_left_out(odd: str, tmp_path: Path, body: Path) -> None:
    records = [*tagged(), {"tokens": ["Ann", "ran"], "tags": [odd, "O"]}]
    told = config(tmp_path, body, task="tag", train=write(tmp_path / "odd.jsonl", *records), epochs=1)
    said = "odd.jsonl, line 13: expected tags as the others are, BIO as in 'B-PER', or 'O' outside of names; got "
    with pytest.raises(DataError, match=said + repr(odd)):
        finetune(told)
    assert not told.out.exists()
    skipped = Skipped()
    _, examples = read_examples(TASKS["tag"], told.train, skip=skipped)
    assert len(TASKS["tag"].fitting(examples, skipped)) == 12 and len(skipped.found) == 1


def test_a_run_says_how_its_tags_are_written_and_keeps_them(tmp_path: Path, body: Path) -> None:
    """Learned, said, measured and written in the file's own tags."""
    ways = {"B-PER": "PER_U", "I-PER": "PER_L", "O": "O"}
    records = [one | {"tags": [ways[tag] for tag in one["tags"]]} for one in tagged()]
    for one in records:
        one["tags"] = ["PER_B" if (tag, then) == ("PER_U", "PER_L") else tag
                       for tag, then in zip(one["tags"], [*one["tags"][1:], ""], strict=True)]  # fmt: skip
    train = write(tmp_path / "a.jsonl", *records)
    run = finetune(config(tmp_path, body, task="tag", train=train, dev=train, epochs=12))
    manifest = RunFolder(run).manifest()
    assert manifest["tags"] == "BILOU, as in 'PER_B'; names: PER"
    assert manifest["labels"] == ["O", "PER_B", "PER_I", "PER_L", "PER_U"]
    scores = evaluate(run, train)
    assert scores["f1"] == 1.0 and scores["tags"] == manifest["tags"]
    predict(run, train, tmp_path / "out.jsonl")
    third = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[2])
    assert third["tags"] == records[2]["tags"]
    assert [(one["label"], one["text"]) for one in third["entities"]] == [("PER", "Lazy Dog")]


def test_a_model_of_others_may_have_odd_tags() -> None:
    """Some publish a tag for [CLS], or for the tokens behind a word's first: in no name."""
    labels = ("O", "B-PER", "I-PER", "X", "[CLS]")
    answers = TaskHead("tag", "tags", labels, "one", "encoder")
    said = tag_words(Words.joined(["Ann", "Lee", "x"]), np.eye(5)[[1, 2, 3]] * 9, answers)
    assert [one.text for one in said.entities] == ["Ann Lee"] and said.tags[2] == "X"
    assert str(scheme_of(labels)) == "BIO, as in 'B-PER'; names: PER; in no name: X, [CLS]"


def test_words_that_were_never_read_are_outside_in_the_models_own_writing() -> None:
    answers = TaskHead("tag", "tags", ("o", "b-per", "i-per"), "one", "encoder")
    said = tag_words(Words.joined(["Ann"]), np.full((1, 3), np.nan), answers)
    assert said.tags == ["o"]


def test_the_scheme_is_that_of_the_whole_file(tmp_path: Path) -> None:
    """A test file may hold a single name, or none: what counts are the tags that the model says."""
    answers = TaskHead("tag", "tags", ("O", "B-A", "I-A"), "one", "encoder")
    file = write(tmp_path / "a.jsonl", {"tokens": ["x", "y"], "tags": ["O", "O"]})
    (example,) = read_examples(TASKS["tag"], file, skip=refuse)[1]
    assert TASKS["tag"].score([example], [{"tags": ["B-A", "O"]}], answers)["precision"] == 0.0
    value, weight = TASKS["tag"].items([example], [{"tags": ["B-A", "O"]}], answers)
    assert (value.tolist(), weight.tolist()) == ([0.0], [1.0])
