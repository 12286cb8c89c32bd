"""Documents that contain an evaluation item are found, others are not."""

from __future__ import annotations

import json
import unicodedata
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


THAI = "ประเทศไทยเป็นประเทศที่ตั้งอยู่ในเอเชียตะวันออกเฉียงใต้มีกรุงเทพมหานครเป็นเมืองหลวงและมีประชากรกว่าหกสิบล้านคน"
JAPANESE = "これはとてもながいぶんしょうのなかにでてくるひとつのもんだいでありまして、カタカナもふくまれています"
HINDI = "हिन्दी विश्व की एक प्रमुख भाषा है और भारत की राजभाषा भी है"


@pytest.mark.parametrize(
    ("item", "text", "found"),
    [
        (THAI, f"ก่อนหน้านี้{THAI}และอื่น", True),  # nothing parts it from what stands around it
        (THAI, THAI[:75], True),  # 61 letters with their marks: 15 words
        (THAI, THAI[:60], False),  # 47
        (THAI[:45], THAI, True),  # 36: all of a short one
        (THAI, THAI.replace("ไทย", "ลาว").replace("ตั้ง", "อยู่")[:80], False),
        (JAPANESE, f"あ{JAPANESE}あ", True),
        (HINDI, f"पहले {HINDI} बाद", True),
        (HINDI, unicodedata.normalize("NFD", HINDI), True),
        (HINDI, "".join(one for one in HINDI if unicodedata.category(one)[0] != "M"), False),  # other words
        ("\u0958लम " * 9, "क\u093cलम " * 9, True),  # one letter, in two spellings
        ("mot cafe\u0301 " * 5, "MOT CAFÉ " * 5, True),
        ("می\u200cخواهم بروم " * 5, "میخواهم بروم " * 5, True),
    ],
)
def test_scripts_without_spaces_and_with_marks(item: str, text: str, found: bool) -> None:
    exclusion = Exclusion([item])
    assert (exclusion.items, exclusion.too_short) == (1, 0)
    assert exclusion.contains(text) is found


def test_short_items_of_scripts_without_spaces_are_not_looked_for() -> None:
    assert Exclusion([THAI[:35], "สวัสดีครับ", "हिन्दी विश्व की एक प्रमुख भाषा है"]).too_short == 3  # 28 letters, 8, 7 words


def test_items_come_from_lines_and_records(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first item\nsecond item\n")
    record = {"question": "third?", "answers": [{"text": "fourth", "start": 3}]}
    (tmp_path / "b.jsonl").write_text(json.dumps(record) + "\n")
    items = list(read_items([tmp_path / "a.txt", tmp_path / "b.jsonl"]))
    assert items == ["first item", "second item", "third?", "fourth"]
    (tmp_path / "c.csv").write_text('text,label\n"one, ""two""\nlines",yes\n')
    (tmp_path / "d.tsv").write_text('text\tlabel\n"open\tno\n')
    assert list(read_items([tmp_path / "c.csv", tmp_path / "d.tsv"])) == [
        *("text", "label", 'one, "two"\nlines', "yes"),  # names too: without any, the first line is an item
        *("text", "label", '"open', "no"),
    ]


def test_a_bad_file_of_items_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no.txt: expected a file to read, got: No such file"):
        list(read_items([tmp_path / "no.txt"]))
    (tmp_path / "b.jsonl").write_text('{"a": "b"}\n{')
    with pytest.raises(DataError, match=r"b.jsonl, line 2: expected JSON"):
        list(read_items([tmp_path / "b.jsonl"]))
