"""Files of examples: columns found or asked for, and what is wrong said by file, line and field, or counted."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from bothways.errors import BothwaysError, DataError, UsageError
from bothways.tasks import TASKS
from bothways.tasks.reading import hold_out, read_examples
from bothways.tasks.records import Skipped, refuse
from bothways.training.finetuning import evaluate, finetune, predict
from bothways.training.run_folder import RunFolder
from tests.tasks.conftest import config, reviews, write


def read(task: str, path: Path, **said: str) -> Any:
    return read_examples(TASKS[task], path, given=said, skip=refuse)


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


@pytest.mark.parametrize(
    ("task", "record", "texts", "gold"),
    [
        ("classify", {"Text": "x", "LABEL": "a"}, ("x",), "a"),
        ("classify", {"评论": "x", "标签": "好"}, ("x",), "好"),
        ("classify", {"内容": "x", "类别": "a", "编号": 7}, ("x",), "a"),
        ("classify", {"句子1": "x", "句子2": "y", "标签": "a"}, ("x", "y"), "a"),
        ("regress", {"Sentence1": "x", "Sentence2": "y", "Score": 2}, ("x", "y"), 2.0),
        ("regress", {"文本1": "x", "文本２": "y", "相似度": 2}, ("x", "y"), 2.0),
        ("tag", {"Tokens": ["a"], "NER_tags": ["O"]}, ("a",), ["O"]),
        ("answer", {"问题": "x?", "段落": "a b", "答案": [{"text": "b"}]}, ("x?", "a b"), (("b", 2),)),
        ("choose", {"问题": "x?", "选项": ["a", "b"], "答案": 1}, ("", "x?", "a", "b"), 1),
        ("embed", {"Text": "x", "正例": "y", "负例": "z"}, ("x", "y", "z"), None),
    ],
)
def test_small_and_capital_letters_are_alike_and_names_may_be_chinese(
    task: str, record: dict[str, Any], texts: Any, gold: Any, tmp_path: Path
) -> None:
    _, (example,) = read(task, write(tmp_path / "a.jsonl", record))
    assert example.texts == texts and (list(example.gold) if task == "tag" else example.gold) == gold
    assert example.id == record.get("编号", 0)


def test_of_names_that_are_alike_the_exact_one_is_taken(tmp_path: Path) -> None:
    columns, _ = read("classify", write(tmp_path / "a.jsonl", {"Text": "x", "text": "y", "Label": "a"}))
    assert str(columns) == "text from 'text', label from 'Label'"


OPTIONAL: dict[str, tuple[str, dict[str, Any], dict[str, Any], Any]] = {
    "negative": ("embed", {"text": "x", "positive": "y"}, {"negative": "z"}, lambda one: one.texts[2:]),
    "context": (
        "choose",
        {"question": "x", "choices": ["a", "b"], "answer": 1},
        {"context": "z"},
        lambda one: one.texts[0],
    ),
    "id": ("classify", {"text": "x", "label": "a"}, {"id": "z"}, lambda one: one.id),
    "head and tail": (
        "relate",
        {"text": "<e1>a</e1> b <e2>c</e2>", "label": "r"},
        {"text": "a b c", "head": "b", "tail": "c"},
        lambda one: one.texts,
    ),
}


@pytest.mark.parametrize("case", OPTIONAL)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_what_is_optional_may_stand_in_some_records(case: str, first: bool, suffix: str, tmp_path: Path) -> None:
    task, without, more, shown = OPTIONAL[case]
    some = [without, {**without, **more}]
    records = some[::-1] if first else some
    path = write(tmp_path / "a.jsonl", *records)
    if suffix == "csv":
        path = tmp_path / "a.csv"
        names = dict.fromkeys(name for record in records for name in record)
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, names)
            table.writeheader()
            table.writerows({k: v if isinstance(v, str) else json.dumps(v) for k, v in one.items()} for one in records)
    _, examples = read(task, path)
    plain, full = [shown(one) for one in (examples[::-1] if first else examples)]
    expected = {
        "negative": ((), ("z",)),
        "context": ("", "z"),
        "id": (1 if first else 0, "z"),
        "head and tail": (("a b c",), ("a b c",)),
    }[case]
    assert (plain, full) == expected


@pytest.mark.parametrize(
    ("task", "record", "more"),
    [
        ("classify", {"text_a": "x", "label": "a"}, {"text_b": "y"}),
        ("regress", {"sentence1": "x", "similarity": 1}, {"sentence2": "y"}),
        ("embed", {"text": "x", "positive": "y"}, {"score": 1}),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_second_text_or_a_score_that_some_records_lack_is_named(
    task: str, record: dict[str, Any], more: dict[str, Any], first: bool, tmp_path: Path
) -> None:
    """A model reads one text or two, and learns from scores or without: what lacks it is wrong, wherever it stands."""
    lines = [record, {**record, **more}][:: -1 if first else 1]
    file = write(tmp_path / "a.jsonl", *lines)
    with pytest.raises(
        DataError, match=rf"line {2 if first else 1}: field '{next(iter(more))}': expected a (text|number)"
    ):
        read(task, file)
    skipped = Skipped()
    columns, examples = read_examples(TASKS[task], file, skip=skipped)
    assert len(examples) == len(skipped.found) == 1 and next(iter(more)) in columns.names.values()


def test_the_first_record_may_be_the_wrong_one(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"label": "a"}, {"text": "x", "label": "b"})
    with pytest.raises(DataError, match=r"a.jsonl, line 1: field 'text': expected a text, got None"):
        read("classify", file)
    skipped = Skipped()
    assert len(read_examples(TASKS["classify"], file, skip=skipped)[1]) == len(skipped.found) == 1


def test_a_file_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,label\na,b\n", encoding="utf-16")
    with pytest.raises(DataError, match=r"a.csv: expected UTF-8, got UTF-16"):
        read("classify", file)
    with pytest.raises(DataError, match=r"a.csv: expected records, got none. 1 were left out, the first: .*UTF-16"):
        read_examples(TASKS["classify"], file, skip=Skipped())


def test_numbers_of_thousands_of_digits_are_no_numbers(tmp_path: Path) -> None:
    for digits, said in (
        (5000, r"line 1: .*\(a whole number of more than 4,300 digits"),
        (400, "line 1: field 'score': expected a num"),
    ):
        (tmp_path / "a.jsonl").write_text('{"text": "x", "score": %s}\n{"text": "x", "score": 1}\n' % ("1" * digits))
        with pytest.raises(DataError, match=said):
            read("regress", tmp_path / "a.jsonl")
        (tmp_path / "a.csv").write_text("text,score\nx,%s\n" % ("1" * digits))
        with pytest.raises(DataError, match="line 2: field 'score': expected a number"):
            read("regress", tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text('text,label\nx,"[%s]"\ny,"[1]"\n' % ("1" * 5000))
    text, listed = read("classify", tmp_path / "b.csv")[1]
    assert text.gold == f"[{'1' * 5000}]" and listed.gold == ("1",)


def test_columns_that_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"body": "x", "stars": 5})
    columns, (example,) = read("classify", file, text="body", label="stars")
    assert example.gold == "5" and str(columns) == "text from 'body', label from 'stars'"
    with pytest.raises(
        UsageError, match=r"a.jsonl: expected a column for text, got body, stars. Name it: --set columns.text=NAME"
    ):
        read("classify", file)
    with pytest.raises(UsageError, match="expected a column 'star' for label, got body, stars"):
        read("classify", file, text="body", label="star")


def test_tables_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n"one, two",good\nthree,bad\n', encoding="utf-8")
    (tmp_path / "a.tsv").write_text("sentence1\tsentence2\tscore\nx\ty\t3.5\n", encoding="utf-8")
    assert [example.texts[0] for example in read("classify", tmp_path / "a.csv")[1]] == ["one, two", "three"]
    assert read("regress", tmp_path / "a.tsv")[1][0].gold == 3.5
    (tmp_path / "bad.csv").write_text("text,label\na,b,c\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"bad.csv, line 2: expected 2 columns, got more"):
        read("classify", tmp_path / "bad.csv")


WRONG: dict[str, tuple[str, Any, str]] = {
    "no text": ("classify", {"text": " ", "label": "a"}, "field 'text': expected a text, got ' '"),
    "a number for a text": ("classify", {"text": 3, "label": "a"}, "field 'text': expected a text, got 3"),
    "half a character": ("classify", {"text": "a\ud800", "label": "a"}, "a lone surrogate, which is half a character"),
    "no label": ("classify", {"text": "x", "label": None}, "field 'label': expected a label, or a list"),
    "a record for a label": ("classify", {"text": "x", "label": {"a": 1}}, "field 'label': expected a label"),
    "a word for a number": ("regress", {"text": "x", "score": "high"}, "field 'score': expected a number, got 'high'"),
    "no number": ("regress", {"text": "x", "score": "nan"}, "expected a number"),
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
    _, examples = read_examples(TASKS[task], file, skip=skipped)
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
        ("regress", [{"text": f"x{i}", "score": 1} for i in range(4)], "expected numbers that differ"),
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


def test_ids_count_records_that_cannot_be_read(classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"text": broken}\n\n["no"]\n{"text": "y"}\n')
    (tmp_path / "b.csv").write_text('text\nx\n\ny\n"z\n')
    for name, expected, left_out in (("a.jsonl", [0, 3], [2, 4]), ("b.csv", [0, 2], [3, 5])):
        skipped = Skipped()
        assert predict(classifier, tmp_path / name, tmp_path / "out.jsonl", skip=skipped) == 2
        answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert [one["id"] for one in answers] == expected
        assert [f"line {line}:" in one for line, one in zip(left_out, skipped.found, strict=True)] == [True, True]
    with pytest.raises(DataError, match=r"b.csv, line 3: field 'text': expected a text, got ''"):
        predict(classifier, tmp_path / "b.csv", tmp_path / "out.jsonl")


def test_texts_are_held_out_by_what_they_are(tmp_path: Path) -> None:
    _, examples = read("classify", write(tmp_path / "a.jsonl", *reviews(40)))
    kept, held = hold_out(examples, 0.2)
    assert 0.1 < len(held) / len(examples) < 0.3
    again, _ = hold_out(examples[::-1], 0.2)
    assert {example.texts for example in again} == {example.texts for example in kept}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "relat"}, "unknown task 'relat'. Did you mean 'relate'"),
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
