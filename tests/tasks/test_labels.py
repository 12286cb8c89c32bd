"""A class is one class however its name is spelt, in every file and every task, and whatever wrote it."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bothways.errors import DataError, UsageError
from bothways.tasks import TASKS
from bothways.tasks.labels import label_name
from bothways.tasks.reading import check_known, read_examples
from bothways.tasks.records import Skipped, refuse
from bothways.tasks.task import Example
from bothways.tasks.words import found_in
from bothways.training.finetuning import evaluate, finetune, predict
from bothways.training.run_folder import RunFolder
from tests.tasks.conftest import config, reviews, tagged, write

APART = unicodedata.normalize("NFD", "café")
RELATED = {"text": "<e1>x</e1> of <e2>y</e2>"}


def read(task: str, file: Path) -> Any:
    return read_examples(TASKS[task], file, skip=refuse)[1]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (" good\u00a0", "good"),
        (APART, "café"),
        (3, "3"),
        (0.0, "0"),
        ("0.0", "0"),
        (" 12.000 ", "12"),
        (-1.0, "-1"),
        (2.5, "2.5"),
        ("1.10", "1.10"),
        ("1.0.0", "1.0.0"),
        (True, "True"),
        (False, "False"),
        (1e22, "1e+22"),
        ("two  words", "two  words"),
    ],
)
def test_a_label_has_one_name(value: Any, name: str) -> None:
    assert label_name(value) == name == label_name(name)


@pytest.mark.parametrize("value", ["", " \n", None, float("nan"), float("inf"), ["a"], {"a": 1}])
def test_what_names_no_class(value: Any) -> None:
    assert label_name(value) is None


SPELT: dict[str, tuple[list[dict[str, Any]], str]] = {
    "classify": ([{"text": "x", "label": one} for one in ("café", f" {APART} ", 1, 1.0, "1.0")], "label"),
    "tag": ([{"tokens": ["x"], "tags": [one]} for one in ("B-café", f"B-{APART}", " B-café ")], "tags"),
    "relate": ([RELATED | {"label": one} for one in ("café", f"{APART} ", 2, 2.0)], "label"),
    "intent": ([{"tokens": ["x"], "tags": ["B-A"], "intent": one} for one in ("café", f"{APART} ")], "intent"),
}
CLASSES = {
    "classify": {"café", "1"},
    "tag": {"O", "B-café", "I-café"},
    "relate": {"café", "2"},
    "intent": {"O", "B-A", "I-A", "intent:café"},
}


@pytest.mark.parametrize("task", SPELT)
def test_spellings_are_one_class(task: str, tmp_path: Path) -> None:
    examples = read(task, write(tmp_path / "a.jsonl", *SPELT[task][0]))
    answers = TASKS[task].head(examples, reads="encoder")
    assert {*answers.labels} == CLASSES[task]
    assert len(check_known(TASKS[task], examples, answers, refuse)) == len(examples)


def test_lists_and_spans_too(tmp_path: Path) -> None:
    (example,) = read("classify", write(tmp_path / "a.jsonl", {"text": "x", "label": ["café", APART, " 1.0", 1]}))
    assert example.gold == ("1", "café")
    spans = [{"start": 0, "end": 1, "label": APART}, {"start": 2, "end": 3, "label": " café"}]
    (example,) = read("tag", write(tmp_path / "b.jsonl", {"text": "x y", "spans": spans}))
    assert example.gold == ("B-café", "B-café")


def test_other_files_may_spell_it_otherwise(tmp_path: Path, body: Path) -> None:
    """Training from a table that pandas wrote, dev and test as JSON, a model's own spelling in what it says."""
    train = tmp_path / "train.csv"
    rows = [f"{one['text']},{float(one['label'] == 'good')}\n" for one in reviews() if "," not in one["text"]]
    train.write_text("text,label\n" + "".join(rows))
    values = {"good": True, "bad": False}
    dev = write(tmp_path / "dev.jsonl", *({**one, "label": int(values[one["label"]])} for one in reviews(2)))
    test = write(tmp_path / "test.jsonl", *({**one, "label": f" {int(values[one['label']])}.0"} for one in reviews(2)))
    run = finetune(config(tmp_path / "run", body, train=train, dev=dev, test=test, epochs=6))
    assert RunFolder(run).manifest()["labels"] == ["0", "1"]
    assert evaluate(run, test)["accuracy"] > 0.9
    predict(run, test, tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])["label"] == "1"


def test_a_model_keeps_its_own_spelling(tmp_path: Path) -> None:
    """One that others fine-tuned may say "1.0" or have letters apart: its answers are asked for by either."""
    file = write(tmp_path / "a.jsonl", *({"text": "x", "label": one} for one in ("café", 1)))
    answers = TASKS["classify"].head(read("classify", file), reads="encoder")
    theirs = replace(answers, labels=("1.0", f"{APART} "))
    known = check_known(TASKS["classify"], read("classify", file), theirs, refuse)
    assert [one.gold for one in known] == [f"{APART} ", "1.0"]


def test_options_and_answers_stand_where_they_are_however_they_are_spelt(tmp_path: Path) -> None:
    record = {"question": "q", "choices": ["tea", " café"]}
    said = [APART, "café ", 1, 1.0, "1", "1.0"]
    examples = read("choose", write(tmp_path / "a.jsonl", *({**record, "answer": one} for one in said)))
    assert [one.gold for one in examples] == [1] * 6
    for wrong in (True, 2, -1, "no", None, 0.5):
        with pytest.raises(DataError, match="field 'answer': expected one of the choices or its number, from 0"):
            read("choose", write(tmp_path / "b.jsonl", {**record, "answer": wrong}))
    context = f"The {APART} is old"
    ask = {"question": "what?", "context": context}
    for answer in ({"text": "café"}, {"text": "café", "start": 4}, {"text": APART, "start": 4}, {"text": " café "}):
        (example,) = read("answer", write(tmp_path / "c.jsonl", {**ask, "answers": [answer]}))
        assert example.gold == ((APART, 4),)
    with pytest.raises(DataError, match="an answer that stands in its context at 5, got 'café'"):
        read("answer", write(tmp_path / "d.jsonl", {**ask, "answers": [{"text": "café", "start": 5}]}))
    related = {"text": context, "head": "café", "tail": "old", "label": "is"}
    assert read("relate", write(tmp_path / "e.jsonl", related))[0].pair.things.tolist() == [[4, 9], [13, 16]]


@pytest.mark.parametrize(
    ("text", "wanted", "start", "place"),
    [
        ("a b a", "a", None, (0, 1)),
        ("a b a", "a", 4, (4, 5)),
        ("a b", " b ", None, (2, 3)),
        (f"x {APART} y", "café", None, (2, 7)),
        ("x café y", APART, 2, (2, 6)),
        (f"{APART}s", "café", 0, (0, 5)),
        ("a", "b", None, None),
        ("a", "", None, None),
        ("a", " ", None, None),
        ("a", "a", 7, None),
    ],
)
def test_where_a_stretch_stands(text: str, wanted: str, start: int | None, place: Any) -> None:
    assert found_in(text, wanted, start=start) == place


NUMBERED = [{**one, "tags": [["O", "B-PER", "I-PER"].index(tag) for tag in one["tags"]]} for one in tagged()]


def test_tags_that_are_numbers_have_the_names_that_are_said(tmp_path: Path, body: Path) -> None:
    """As the `datasets` library writes ner_tags: numbers, with the names elsewhere."""
    records = [{"tokens": one["tokens"], "ner_tags": one["tags"]} for one in NUMBERED]
    file = write(tmp_path / "a.jsonl", *records)
    told = config(tmp_path, body, task="tag", train=file, dev=file, test=file, epochs=12)
    run = finetune(told.model_copy(update={"label_names": ("O", "B-PER", "I-PER")}))
    manifest = RunFolder(run).manifest()
    assert manifest["labels"] == ["O", "B-PER", "I-PER"] and manifest["tags"] == "BIO, as in 'B-PER'; names: PER"
    assert evaluate(run, file)["f1"] == manifest["test"]["f1"] > 0.9
    more = write(tmp_path / "b.jsonl", *records, {"tokens": ["x"], "ner_tags": [3]})
    with pytest.raises(DataError, match="b.jsonl, line 13: expected the number of a label, 0 to 2, got 3"):
        evaluate(run, more)
    skipped = Skipped()
    assert evaluate(run, more, skip=skipped)["examples"] == 12 and len(skipped.found) == 1


def test_tags_that_are_numbers_without_names_are_said_to_be(tmp_path: Path, body: Path) -> None:
    file = write(tmp_path / "a.jsonl", *NUMBERED)
    run = finetune(config(tmp_path, body, task="tag", train=file, dev=file, epochs=1))
    manifest = RunFolder(run).manifest()
    assert manifest["labels"] == ["O", "0", "1", "2"]
    assert manifest["tags"].startswith("numbers, without names: give them by --set 'label_names=[O, ")
    numbers = write(tmp_path / "c.jsonl", *({"text": "x", "score": one} for one in (1, 2, 3)))
    told = config(tmp_path / "match", body, task="regress", train=numbers, dev=numbers, label_names=("O",))
    with pytest.raises(UsageError, match="label_names is for labels, which regress has none of"):
        finetune(told)


def test_a_list_of_labels_is_right_in_any_order() -> None:
    """Labels that are numbers are sorted as such by a model, and as text in a record."""
    examples = [Example(str(i), ("a",), gold, "line 1") for i, gold in enumerate([("10", "2"), ("10", "2"), "7"])]
    predictions = [{"label": ["2", "10"]}, {"label": ["2"]}, {"label": "7"}]
    assert TASKS["classify"].right(examples, predictions).tolist() == [1.0, 0.0, 1.0]
