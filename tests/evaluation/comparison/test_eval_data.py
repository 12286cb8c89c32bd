"""Minimal pairs and labelled files: what is read, and what is refused with file, line and field."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from bothways.errors import DataError, UsageError
from bothways.evaluation.comparison.eval_data import Pairs
from bothways.evaluation.linear_probe import read_sides


def written(place: Path, *records: object) -> Path:
    lines = "\n".join(record if isinstance(record, str) else json.dumps(record) for record in records) + "\n"
    if place.suffix == ".gz":
        place.write_bytes(gzip.compress(lines.encode()))
    else:
        place.write_text(lines, encoding="utf-8")
    return place


def pair(number: int, paradigm: str) -> dict[str, str]:
    return {"good": f"good {number}", "bad": f"bad {number}", "paradigm": paradigm}


def test_the_first_pairs_of_each_paradigm(tmp_path: Path) -> None:
    file = written(tmp_path / "pairs.jsonl.gz", *(pair(i, "ab"[i % 2]) for i in range(10)))
    found = Pairs.read((file,), each=2)
    assert found.paradigm == ["a", "a", "b", "b"]
    assert found.good == ["good 0", "good 2", "good 1", "good 3"]
    assert found.bad == ["bad 0", "bad 2", "bad 1", "bad 3"]


def test_pairs_as_blimp_is_published_and_a_file_without_any(tmp_path: Path) -> None:
    records = [{"sentence_good": f"good {i}", "sentence_bad": f"bad {i}", "UID": "ab"[i % 2]} for i in range(10)]
    found = Pairs.read((written(tmp_path / "pairs.jsonl", *records),), each=2)
    assert found.paradigm == ["a", "a", "b", "b"] and found.good[0] == "good 0"
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="expected records, got an empty file"):
        Pairs.read((tmp_path / "empty.jsonl",), each=2)


def test_labels_may_be_numbers_and_texts_may_be_two(tmp_path: Path) -> None:
    def read(*records: object) -> list[tuple[tuple[str, ...], str]]:
        file = written(tmp_path / "a.jsonl", *records)
        return [(example.texts, example.gold) for example in read_sides("classify", file, file)[0]]

    assert read({"text": "x", "label": 1}, {"text": "y", "label": 0}) == [(("x",), "1"), (("y",), "0")]
    spelt = read(*({"text": "x", "label": one} for one in (0.0, " 0", True)))
    assert [label for _, label in spelt] == ["0", "0", "True"]
    double = [{"text_a": "x", "text_b": "y", "label": label} for label in ("no", "yes")]
    assert read(*double) == [(("x", "y"), "no"), (("x", "y"), "yes")]
    assert read({"评论": "x", "标签": "y"}, {"评论": "z", "标签": "n"}) == [(("x",), "y"), (("z",), "n")]


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (["{broken"], "line 1: expected JSON"),
        ([[1, 2]], "line 1: expected an object with fields, got list"),
        ([{"text": "x", "label": 1}, {"text": "y"}], "line 2: field 'label': expected a label"),
        ([{"text": " ", "label": 1}], "line 1: field 'text': expected a text, got ' '"),
        (
            [{"text": "x", "label": 1}, {"text": "x", "text_b": "y", "label": 1}],
            "line 1: field 'text_b': expected a text",
        ),
        ([{"text": "x", "label": ["a"]}], "line 1: expected one label, got a list"),
        ([], "got an empty file"),
    ],
)
def test_a_labelled_file_that_cannot_be_read(records: list[object], said: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text("", encoding="utf-8")
    if records:
        written(file, *records)
    with pytest.raises(DataError, match="bad.jsonl") as error:
        read_sides("classify", file, file)
    assert said in str(error.value)


def test_a_pair_without_its_bad_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pairs\.jsonl, line 1: expected the field 'bad', got only good"):
        Pairs.read((written(tmp_path / "pairs.jsonl", {"good": "x"}),), each=9)


def test_files_of_another_kind_and_missing_ones(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("good,bad\nx,y\n", encoding="utf-8")
    assert Pairs.read((tmp_path / "pairs.csv",), each=9) == Pairs(["x"], ["y"], [""])
    (tmp_path / "pairs.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match=r"pairs.txt: expected records in .jsonl, .csv, .tsv"):
        Pairs.read((tmp_path / "pairs.txt",), each=9)
    with pytest.raises(DataError, match="none.jsonl"):
        read_sides("classify", tmp_path / "none.jsonl", tmp_path / "none.jsonl")


def test_sides_that_do_not_fit(tmp_path: Path) -> None:
    train = written(tmp_path / "train.jsonl", {"text": "x", "label": 0}, {"text": "y", "label": 1})
    single = written(tmp_path / "single.jsonl", {"text": "x", "label": 0})
    new = written(tmp_path / "new.jsonl", {"text": "x", "label": 2})
    two = written(tmp_path / "two.jsonl", {"text_a": "x", "text_b": "y", "label": 0})
    assert [example.gold for example in read_sides("classify", train, single)[0]] == ["0", "1"]
    for left, right, said in (
        (single, train, "two classes or more, got only '0'"),
        (train, new, "the labels 2 are not in"),
        (train, two, "as many texts a record"),
    ):
        with pytest.raises(DataError, match=said):
            read_sides("classify", left, right)


def test_a_file_of_a_folder_is_a_paradigm_where_its_records_name_none(tmp_path: Path) -> None:
    """As BabyLM's pipeline has it: of files of unequal size, each counts alike."""
    records = [{"good": f"good {i}", "bad": f"bad {i}"} for i in range(3)]
    files = (written(tmp_path / "hypernym.jsonl.gz", *records), written(tmp_path / "turns.jsonl", *records[:1]))
    assert Pairs.read(files, each=2, by_file=True).paradigm == ["hypernym", "hypernym", "turns"]
    assert Pairs.read(files, each=2).paradigm == ["", "", ""]
    named = written(tmp_path / "named.jsonl", pair(0, "own"))
    assert Pairs.read((named,), each=2, by_file=True).paradigm == ["own"]
