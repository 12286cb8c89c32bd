"""Documents that contain an evaluation item are found, others are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bothways.corpus.exclude import Exclusion, read_items
from bothways.errors import DataError

LONG = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness"
SHORT = "Nobody expected the old fox to cross the river"
CHINESE = "我们都知道语言模型可以从左到右读也可以从两边读"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"He said: {LONG}.", True),
        (LONG.upper().replace(" ", "\n\t "), True),
        ("before " + " ".join(LONG.split()[3:16]) + " after", True),  # thirteen words of it
        ("before " + " ".join(LONG.split()[3:15]) + " after", False),  # twelve
        (f"x{SHORT}y", False),
        (f"“{SHORT}!”", True),
        (" ".join(SHORT.split()[:-1]), False),
        (f"前面{CHINESE}后面", True),
        (CHINESE[:13], True),
        (CHINESE[:12], False),
        ("yes", False),
        ("", False),
    ],
)
def test_the_rule(text: str, found: bool) -> None:
    exclusion = Exclusion([LONG, SHORT, CHINESE, "yes", "one two three four five six seven"])
    assert exclusion.contains(text) is found
    assert (exclusion.items, exclusion.too_short) == (3, 2)


def test_items_come_from_lines_and_records(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first item\nsecond item\n")
    record = {"question": "third?", "answers": [{"text": "fourth", "start": 3}]}
    (tmp_path / "b.jsonl").write_text(json.dumps(record) + "\n")
    items = list(read_items([tmp_path / "a.txt", tmp_path / "b.jsonl"]))
    assert items == ["first item", "second item", "third?", "fourth"]


def test_a_bad_file_of_items_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no.txt: expected a file to read, got: No such file"):
        list(read_items([tmp_path / "no.txt"]))
    (tmp_path / "b.jsonl").write_text('{"a": "b"}\n{')
    with pytest.raises(DataError, match=r"b.jsonl, line 2: expected JSON"):
        list(read_items([tmp_path / "b.jsonl"]))
