"""Files of examples: columns found or asked for, and what is wrong said by file, line and field, or counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bothways.errors import BothwaysError, DataError, UsageError
from bothways.pretraining.folder import RunFolder
from bothways.tasks import evaluate, finetune, predict
from bothways.tasks.config import TASKS
from bothways.tasks.data import hold_out, read_examples
from bothways.tasks.records import Skipped, refuse
from tests.tasks.conftest import config, reviews, write


def read(task: str, path: Path, **said: str) -> Any:
    return read_examples(TASKS[task], path, said=said, skip=refuse)


@pytest.mark.parametrize(
    ("record", "texts", "gold"),
    [
        ({"text": "x", "label": "a"}, ("x",), "a"),
        ({"sentence": "x", "label": 1}, ("x",), "1"),
        ({"text_a": "x", "text_b": "y", "label": 0}, ("x", "y"), "0"),
        ({"premise": "x", "hypothesis": "y", "class": "no"}, ("x", "y"), "no"),
        ({"text": "x", "label": ["b", "a", "b"]}, ("x",), ("a", "b")),
        ({"label": "a", "id": 7, "content": "x"}, ("x",), "a"),
    ],
)
def test_columns_that_their_names_tell(record: dict[str, Any], texts: Any, gold: Any, tmp_path: Path) -> None:
    _, (example,) = read("classify", write(tmp_path / "a.jsonl", record))
    assert (example.texts, example.gold) == (texts, gold)
    assert example.id == record.get("id", 0)


def test_columns_that_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"body": "x", "stars": 5})
    columns, (example,) = read("classify", file, text="body", label="stars")
    assert example.gold == "5" and str(columns) == "text from 'body', label from 'stars'"
    with pytest.raises(
        UsageError, match=r"a.jsonl: expected a column for text, got body, stars. Name it: --column text="
    ):
        read("classify", file)
    with pytest.raises(UsageError, match="expected a column 'star' for label, got body, stars"):
        read("classify", file, text="body", label="star")


def test_tables_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n"one, two",good\nthree,bad\n', encoding="utf-8")
    (tmp_path / "a.tsv").write_text("sentence1\tsentence2\tscore\nx\ty\t3.5\n", encoding="utf-8")
    assert [example.texts[0] for example in read("classify", tmp_path / "a.csv")[1]] == ["one, two", "three"]
    assert read("match", tmp_path / "a.tsv")[1][0].gold == 3.5
    (tmp_path / "bad.csv").write_text("text,label\na,b,c\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"bad.csv, line 2: expected 2 columns, got more"):
        read("classify", tmp_path / "bad.csv")


WRONG: dict[str, tuple[str, Any, str]] = {
    "no text": ("classify", {"text": " ", "label": "a"}, "field 'text': expected a text, got ' '"),
    "a number for a text": ("classify", {"text": 3, "label": "a"}, "field 'text': expected a text, got 3"),
    "half a character": ("classify", {"text": "a\ud800", "label": "a"}, "lone surrogate at character 1"),
    "no label": ("classify", {"text": "x", "label": None}, "field 'label': expected a label, or a list"),
    "a record for a label": ("classify", {"text": "x", "label": {"a": 1}}, "field 'label': expected a label"),
    "a word for a number": ("match", {"text": "x", "score": "high"}, "field 'score': expected a number, got 'high'"),
    "no number": ("match", {"text": "x", "score": "nan"}, "expected a number"),
    "tags that do not match": ("tag", {"tokens": ["a", "b"], "tags": ["O"]}, r"as many tags as words \(2\), got 1"),
    "no words": ("tag", {"tokens": [], "tags": []}, "field 'tokens': expected a list of words"),
    "an empty word": ("tag", {"tokens": ["a", " "], "tags": ["O", "O"]}, "expected a list of words"),
    "half a word": (
        "tag",
        {"text": "Berlin is far", "spans": [{"start": 0, "end": 3, "label": "LOC"}]},
        "a span that begins and ends where words do, got 0 to 3",
    ),
    "a span outside": (
        "tag",
        {"text": "Berlin", "spans": [{"start": 10, "end": 12, "label": "LOC"}]},
        "where words do, got 10 to 12",
    ),
    "spans that overlap": (
        "tag",
        {"text": "New York", "spans": [{"start": 0, "end": 8, "label": "L"}, {"start": 4, "end": 8, "label": "L"}]},
        "spans that do not overlap, got another at 4 to 8",
    ),
    "a span without its end": (
        "tag",
        {"text": "x", "spans": [{"start": 0, "label": "L"}]},
        "expected start, end and label",
    ),
    "no object": ("classify", ["text"], "expected an object with fields, got list"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_or_left_out_and_counted(case: str, tmp_path: Path) -> None:
    task, record, message = WRONG[case]
    good: dict[str, Any] = {"text": "fine", "label": "a", "score": 1, "spans": []}
    if "tokens" in record:
        good = {"tokens": ["fine"], "tags": ["O"]}
    file = write(tmp_path / "a.jsonl", good, record, good)
    with pytest.raises(DataError, match=r"a.jsonl, line 2: .*" + message):
        read(task, file)
    skipped = Skipped()
    _, examples = read_examples(TASKS[task], file, said={}, skip=skipped)
    assert len(examples) == 2 and len(skipped.found) == 1 and "a.jsonl, line 2" in skipped.found[0]


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"text": "x", "label": "a"}\n{"text": "天", "label": "b"}\n'.encode("gb18030"))
    with pytest.raises(DataError, match=r"a.jsonl, line 2: expected UTF-8"):
        read("classify", tmp_path / "a.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match=r"empty.jsonl: expected records, got an empty file"):
        read("classify", tmp_path / "empty.jsonl")
    with pytest.raises(UsageError, match=r"a.txt: expected records in .jsonl"):
        read("classify", tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("task", "records", "message"),
    [
        (
            "classify",
            [{"text": f"x{i}", "label": "a"} for i in range(4)],
            "expected two classes or more to tell apart, got only 'a'",
        ),
        ("match", [{"text": f"x{i}", "score": 1} for i in range(4)], "expected numbers that differ"),
        ("tag", [{"tokens": ["a"], "tags": ["O"]}] * 4, "expected tags to tell apart, got only 'O'"),
        (
            "classify",
            [{"text": "x", "label": "a"}, {"text": "y", "label": ["a"]}],
            "expected one label, as in the others",
        ),
    ],
)
def test_what_cannot_be_learned(task: str, records: Any, message: str, body: Path, tmp_path: Path) -> None:
    told = config(tmp_path, body, task=task)
    write(told.train, *records)
    with pytest.raises(DataError, match=rf"train.jsonl.*: {message}"):
        finetune(told)
    assert not told.out.exists()


def test_a_label_that_was_not_trained(classifier: Path, tmp_path: Path, body: Path) -> None:
    file = write(tmp_path / "new.jsonl", {"text": "x", "label": "good"}, {"text": "y", "label": "so-so"})
    with pytest.raises(DataError, match=r"new.jsonl, line 2: the label 'so-so' was not trained; known: bad, good"):
        evaluate(classifier, file)
    skipped = Skipped()
    assert evaluate(classifier, file, skip=skipped)["examples"] == 1 and len(skipped.found) == 1
    told = config(tmp_path / "run", body, test=file, skip_bad=True)
    finetune(told)
    manifest = RunFolder(told.out).manifest()
    assert manifest["examples"]["test"] == 1 and "so-so" in manifest["skipped"][0]


def test_answers_need_no_labels_and_never_overwrite_what_they_read(classifier: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"text": "x"}, {"text": ""}, {"text": "z"})
    with pytest.raises(UsageError, match="is the file that is read"):
        predict(classifier, file, file)
    with pytest.raises(DataError, match="line 2: field 'text'"):
        predict(classifier, file, tmp_path / "out.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl"]
    assert predict(classifier, file, tmp_path / "out.jsonl", skip=Skipped()) == 2
    ids = [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert ids == [0, 2]


def test_texts_are_held_out_by_what_they_are(tmp_path: Path) -> None:
    _, examples = read("classify", write(tmp_path / "a.jsonl", *reviews(40)))
    kept, held = hold_out(examples, 0.2)
    assert 0.1 < len(held) / len(examples) < 0.3
    again, _ = hold_out(examples[::-1], 0.2)
    assert {example.texts for example in again} == {example.texts for example in kept}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "translate"}, "unknown task 'translate'. Did you mean 'relate'"),
        ({"model": "no/such/folder"}, "no/such/folder"),
        ({"reads": "decoder"}, None),
        ({"length": 100}, "length 100 is more than the model reads"),
        ({"class_weights": "balanced", "task": "tag"}, "balanced is for classify"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any], message: str | None, body: Path, tmp_path: Path) -> None:
    told = config(tmp_path, body, **{"task": "classify", **changes})
    if message is None:
        finetune(told)  # a hybrid reads from left to right too
        assert RunFolder(told.out).manifest()["status"] == "done"
        return
    with pytest.raises(BothwaysError, match=message):
        finetune(told)
