"""Records with the lines where they begin: what is wrong spoils itself only, and every one is counted."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.corpus.records import field_names, read_records
from bothways.errors import DataError, MachineError, UsageError


def read(path: Path, content: str | bytes) -> tuple[list[tuple[int, int, dict[str, Any]]], list[tuple[int, str]]]:
    """(number, line, record), and what was skipped: (line, why)."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    told: list[tuple[int, str]] = []
    return list(read_records(path, lambda path, line, why: told.append((line, why)))), told


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_quote_that_is_never_closed_spoils_its_own_record(tmp_path: Path, quote: str) -> None:
    rows = [f"{quote}text {i}{quote},{i}" for i in range(200)]
    rows[20] = '"text 20,20'
    path = tmp_path / "a.csv"
    found, told = read(path, "\n".join(["text,label", *rows, ""]))
    assert told == [(22, "expected csv, got a quote that is not closed")]
    assert found == [(i, i + 2, {"text": f"text {i}", "label": str(i)}) for i in range(200) if i != 20]
    with pytest.raises(DataError, match=r"a.csv, line 22: expected csv, got a quote that is not closed"):
        list(read_records(path))


def test_a_record_is_named_by_the_line_where_it_begins(tmp_path: Path) -> None:
    rows = ["text,label,n", '"a\n\nb",1,x', '"c\nd"x,2,x', 'e,"f\ng",3,4', "", "h", '"i, ""j""",5,x', "k,l,m,n"]
    found, told = read(tmp_path / "a.csv", "\n".join(rows))
    assert [(line, record) for _, line, record in found] == [
        (2, {"text": "a\n\nb", "label": "1", "n": "x"}),
        (10, {"text": "h"}),
        (11, {"text": 'i, "j"', "label": "5", "n": "x"}),
    ]
    assert [line for line, _ in told] == [5, 6, 7, 8, 12]  # 6 and 8 would look like records
    assert told[-1][1] == "expected 3 columns, got more: 4"


def test_a_line_that_cannot_be_read_spoils_the_record_around_it(tmp_path: Path) -> None:
    found, told = read(tmp_path / "a.csv", b'text,n\n"a\n\xff\nb",1\nc,2\n')
    assert found == [(1, 5, {"text": "c", "n": "2"})]
    assert told == [(2, "expected UTF-8, got b'\\xff' (another encoding? iconv -f GB18030 -t UTF-8, of Chinese)")]


def test_quotes_of_a_tsv_need_not_be_closed(tmp_path: Path) -> None:
    rows = [('it said 5" wide', 0), ('"Great" film', 1), ('"It was good', 0), ('never again"', 1)]
    texts = [rows[i % 4] for i in range(400)]
    found, told = read(tmp_path / "a.tsv", "text\tn\n" + "".join(f"{text}\t{n}\n" for text, n in texts))
    assert not told and found == [(i, i + 2, {"text": text, "n": str(n)}) for i, (text, n) in enumerate(texts)]
    assert [one["text"] for _, _, one in read(tmp_path / "b.tsv", 'text\n"open\nclose"\n"whole"\n')[0]] == [
        '"open',
        'close"',
        "whole",
    ]


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\r\t\0"), max_size=8)


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t")])
@given(rows=st.lists(st.tuples(FIELD, FIELD, FIELD), max_size=6))
def test_tables_that_others_write_come_back(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, delimiter: str, rows: list[tuple[str, str, str]]
) -> None:
    """Also a quoted field over several lines, of a .tsv too."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows([("a", "b", "c"), *rows])
    found, told = read(tmp_path_factory.mktemp("tables") / f"a{suffix}", out.getvalue())
    assert not told and [tuple(record.values()) for _, _, record in found] == rows


def test_an_empty_line_is_a_record_where_there_is_one_column(tmp_path: Path) -> None:
    for suffix in (".csv", ".tsv"):
        found, _ = read(tmp_path / f"a{suffix}", "text\na\n\nb\n")
        assert found == [(0, 2, {"text": "a"}), (1, 3, {"text": ""}), (2, 4, {"text": "b"})]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", '"text,label\na,b\n', "line 1: expected the names of columns, got a quote that is not closed"),
        ("a.csv", 'text,"label\n', "line 1: expected the names of columns, got a quote that is not closed"),
        (
            "a.csv",
            "text|label\na|b\n",
            "line 1: expected commas between the names of columns, got 'text|label', with bars",
        ),
        ("a.csv", "text\tlabel\na\tb\n", "with tabs in it. Name it .tsv."),
        (
            "a.tsv",
            "text,label\na,b\n",
            "line 1: expected tabs between the names of columns, got 'text,label', with commas",
        ),
        ("a.csv", "text,text\n", "expected a name for each column, got 'text' twice"),
    ],
)
def test_columns_that_have_no_names(tmp_path: Path, name: str, content: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    for reader in (field_names, lambda path: list(read_records(path))):
        with pytest.raises((DataError, UsageError)) as caught:
            reader(path)
        assert str(path) in str(caught.value) and said in str(caught.value)


@pytest.mark.parametrize("header", ["文本,标签", "文本;标签"])
def test_names_of_columns_in_another_encoding(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.csv").write_bytes(f"{header}\r\n很好,好评\r\n".encode("gb18030"))
    with pytest.raises(DataError) as refused:
        list(read_records(tmp_path / "a.csv"))
    assert "line 1: expected UTF-8, got b'" in str(refused.value)
    assert "iconv -f GB18030 -t UTF-8" in str(refused.value)
    assert "\\udc" not in str(refused.value)  # half characters tell nobody anything


def test_semicolons_between_columns(tmp_path: Path) -> None:
    """As spreadsheets write them where the comma is the decimal one; quotes, broken lines and all."""
    found, told = read(tmp_path / "a.csv", '\n评语;"星级"\n"好; ""很""好, 真的";1,5\n差;0\n')
    assert not told and [record for _, _, record in found] == [
        {"评语": '好; "很"好, 真的', "星级": "1,5"},
        {"评语": "差", "星级": "0"},
    ]
    found, told = read(tmp_path / "b.csv", 'text;label\n"a;1\nb;2\nc;3\n')
    assert [line for line, _ in told] == [2] and [record["text"] for _, _, record in found] == ["b", "c"]
    found, _ = read(tmp_path / "c.csv", "text,a;b\nx,y\n")  # with a comma it is one between columns
    assert found[0][2] == {"text": "x", "a;b": "y"}


def test_line_ends_of_old_macs(tmp_path: Path) -> None:
    found, told = read(tmp_path / "a.csv", 'text,n\r"a\rb",1\rc,2\r')
    assert not told and found == [(0, 2, {"text": "a\nb", "n": "1"}), (1, 4, {"text": "c", "n": "2"})]
    found, told = read(tmp_path / "b.csv", "text,n\na\rb,1\nc,2\n")  # within a field without quotes: no line end
    assert [line for line, _ in told] == [2] and [line for _, line, _ in found] == [3]


ENCODED = {"utf-16": "UTF-16", "utf-32": "UTF-32", "utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE"}


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv"])
def test_encodings_that_are_not_utf_8_are_named(tmp_path: Path, encoding: str, name: str) -> None:
    content = '{"text": "a"}\n' * 2 if name == "a.jsonl" else "text,label\na,b\n"
    said = f"expected UTF-8, got {ENCODED[encoding]}. Convert it: iconv -f {ENCODED[encoding]} -t UTF-8 OLD > NEW"
    assert read(tmp_path / name, content.encode(encoding)) == ([], [(0, said)])
    assert field_names(tmp_path / name) == ()
    with pytest.raises(DataError, match=rf"{name}: expected UTF-8, got UTF"):
        list(read_records(tmp_path / name))


def test_zeros_in_a_line_spoil_it(tmp_path: Path) -> None:
    content = b'{"text": "first"}\n{"text": "a\0b"}\n{"text": "third"}\n'
    found, told = read(tmp_path / "a.jsonl", content)
    assert [(number, line) for number, line, _ in found] == [(0, 1), (2, 3)]
    assert told[0][0] == 2 and "a NUL character (UTF-16 without a mark?" in told[0][1]
    chinese = '{"文本": "这是一个没有标记的文件"}\n'.encode("utf-16-le")
    assert "NUL character (UTF-16 without a mark?" in read(tmp_path / "b.jsonl", chinese)[1][0][1]


def test_numbers_count_what_cannot_be_read(tmp_path: Path) -> None:
    content = '{"n": 0}\n\n{"n": %s}\n[2]\n{"n": 3\n{"n": 4}\n' % ("1" * 5000)
    found, told = read(tmp_path / "a.jsonl", content)
    assert found == [(0, 1, {"n": 0}), (4, 6, {"n": 4})]
    assert [line for line, _ in told] == [3, 4, 5]
    assert told[0][1].startswith("expected JSON, got something else (a whole number of more than 4,300 digits")


def test_a_file_that_breaks_off_is_told_once(tmp_path: Path) -> None:
    whole = gzip.compress(b'text,n\n"one",1\n' + b'"two",2\n' * 60_000)
    found, told = read(tmp_path / "a.csv.gz", whole[:-12])
    assert found[0] == (0, 2, {"text": "one", "n": "1"})
    assert [line for line, _ in told] == [0] and "expected a whole compressed file" in told[0][1]


def test_the_fields_of_a_file_are_those_of_all_its_records(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": 1}\nbroken\n{"b": 2, "text": 3}\n', encoding="utf-8")
    (tmp_path / "a.csv").write_text("text,b\nx\n", encoding="utf-8")
    assert field_names(tmp_path / "a.jsonl") == field_names(tmp_path / "a.csv") == ("text", "b")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(MachineError, match=r"pip install 'bothways\[parquet\]'"):
        list(read_records(tmp_path / "t.parquet"))


def test_parquet_is_read_as_the_others_are(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the extra bothways[parquet]")
    from pyarrow import parquet

    parquet.write_table(pa.table({"text": ["a", None], "labels": [["x"], []]}), tmp_path / "t.parquet")
    assert field_names(tmp_path / "t.parquet") == ("text", "labels")
    assert list(read_records(tmp_path / "t.parquet")) == [
        (0, 1, {"text": "a", "labels": ["x"]}),
        (1, 2, {"text": None, "labels": []}),
    ]
    (tmp_path / "no.parquet").write_bytes(b"nothing")
    assert field_names(tmp_path / "no.parquet") == ()
