"""Every format gives the same documents, and what does not parse is named or counted."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.corpus import PrepareOptions
from bothways.corpus.lines import zstd
from bothways.corpus.readers import DocumentReader
from bothways.corpus.sources import find_sources
from bothways.errors import DataError, UsageError

TEXTS = ["One line.", "Two\nlines, “quoted”", "第三个文档"]


def read(path: Path, **options: object) -> list[str]:
    return list(DocumentReader(PrepareOptions(**options)).read(path))


def read_skipping(path: Path, **options: object) -> tuple[list[str], list[tuple[str, int]]]:
    skipped: list[tuple[str, int]] = []
    reader = DocumentReader(PrepareOptions(**options), lambda path, line, why: skipped.append((path.name, line)))
    return list(reader.read(path)), skipped


def as_csv(texts: list[str], delimiter: str) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([["id", "text"], *([i, text] for i, text in enumerate(texts))])
    return out.getvalue()


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv", ".tsv"])
def test_every_format_packed_or_not(tmp_path: Path, suffix: str, packed: str) -> None:
    content = {
        ".txt": "\ufeff\n" + "\r\n \n\n".join(text.replace("\n", "\r\n") for text in TEXTS),
        ".jsonl": "".join(json.dumps({"text": text, "label": 1}) + "\n\n" for text in TEXTS),
        ".csv": as_csv(TEXTS, ","),
        ".tsv": as_csv(TEXTS, "\t"),
    }[suffix].encode()
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstd.compress}[packed]
    path = tmp_path / f"file{suffix}{packed}"
    path.write_bytes(pack(content))
    assert read(path) == TEXTS


def test_quotes_in_a_tsv_join_no_lines(tmp_path: Path) -> None:
    quoted = {0: '"so it begins', 1: 'so it ends"', 2: '5" wide'}
    texts = [quoted.get(i % 20, f"text {i}") for i in range(400)]
    (tmp_path / "a.tsv").write_text("text\tn\n" + "".join(f"{text}\t{i}\n" for i, text in enumerate(texts)))
    assert read_skipping(tmp_path / "a.tsv") == (texts, [])


def test_an_unclosed_quote_in_a_csv_is_one_record(tmp_path: Path) -> None:
    rows = [f"text {i},{i}" for i in range(200)]
    rows[19] = '"text 19,19'
    (tmp_path / "a.csv").write_text("\n".join(["text,n", *rows]))
    assert read_skipping(tmp_path / "a.csv") == ([f"text {i}" for i in range(200) if i != 19], [("a.csv", 21)])


def test_old_macs_and_other_encodings_in_plain_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("one\r两\r\rthree\r".encode())
    assert read(tmp_path / "a.txt") == ["one\n两", "three"]
    (tmp_path / "b.txt").write_text("some text", encoding="utf-16")
    assert read_skipping(tmp_path / "b.txt") == ([], [("b.txt", 0)])
    with pytest.raises(DataError, match=r"b.txt: expected UTF-8, got UTF-16. Convert it: iconv -f UTF-16 -t UTF-8"):
        read(tmp_path / "b.txt")


def test_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the extra bothways[parquet]")
    from pyarrow import parquet

    parquet.write_table(pa.table({"text": [*TEXTS, None], "n": [1, 2, 3, 4]}), tmp_path / "t.parquet")
    assert read_skipping(tmp_path / "t.parquet") == (TEXTS, [("t.parquet", 4)])
    with pytest.raises(UsageError, match="expected a column 'body', got text, n"):
        read(tmp_path / "t.parquet", fields=("body",))
    (tmp_path / "no.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"no.parquet: expected Parquet"):
        read(tmp_path / "no.parquet")


def test_what_a_document_is_in_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n  two\n\n\nthree\n")
    assert read(path) == ["one\n  two", "three"]
    assert [text for text in read(path, documents="lines") if text] == ["one", "  two", "three"]
    assert read(path, documents="files") == ["one\n  two\n\n\nthree"]


@given(
    blocks=st.lists(st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), min_size=1), min_size=1)
)
def test_blocks_come_back_whole(tmp_path_factory: pytest.TempPathFactory, blocks: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("blocks") / "a.txt"
    texts = ["\n".join(lines) for lines in blocks]
    path.write_text("\n\n".join(texts), encoding="utf-8")
    assert read(path) == texts


def test_several_fields_make_one_document(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"title": "T", "body": "B"}\n')
    assert read(path, fields=("title", "body")) == ["T\nB"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"text": "cut', "expected JSON"),
        (b'{"text": 3}', "expected text in field 'text', got int; it has text"),
        (b'{"body": "x"}', "expected text in field 'text', got NoneType; it has body"),
        (b"[1]", "expected an object with fields, got list"),
        (b'{"text": "\\ud800"}', "a lone surrogate, which is half a character"),
        (b'{"text": "\xff"}', "expected UTF-8, got b'\\xff'"),
        (b"[" * 100_000, "expected JSON"),
    ],
)
def test_a_bad_line_is_named_or_skipped(tmp_path: Path, line: bytes, why: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "first"}\n' + line + b'\n{"text": "third"}\n')
    with pytest.raises(DataError) as caught:
        read(path)
    assert f"{path}, line 2: " in str(caught.value)
    assert why in str(caught.value)
    assert "--skip-bad" not in str(caught.value)  # not every command has it
    assert read_skipping(path) == (["first", "third"], [("a.jsonl", 2)])


def test_a_bad_line_of_text_or_csv_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"good\n\xe4 bad\n")
    with pytest.raises(DataError, match=r"a.txt, line 2: expected UTF-8, got b'\\xe4'"):
        read(tmp_path / "a.txt")
    (tmp_path / "a.csv").write_bytes(b'text,n\n"one",1\n"two"x,2\nthree,3\n')
    with pytest.raises(DataError, match=r"a.csv, line 3: expected csv"):
        read(tmp_path / "a.csv")
    with pytest.raises(UsageError, match="expected a column 'body', got text, n"):
        read(tmp_path / "a.csv", fields=("body",))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_cut_archive_is_named(tmp_path: Path, suffix: str) -> None:
    pack = {".gz": gzip.compress, ".zst": zstd.compress}[suffix]
    whole = pack(b"".join(b"line %d\n\n" % i for i in range(5000)))
    for name, content in (("cut", whole[: len(whole) // 2]), ("none", b"not packed at all")):
        path = tmp_path / f"{name}.txt{suffix}"
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}.txt{suffix}: expected a whole compressed file"):
            read(path)


def test_a_document_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bothways.corpus.readers.LONGEST", 100)
    path = tmp_path / "a.txt"
    path.write_text("a line of text\n" * 20)
    with pytest.raises(DataError, match=r"a.txt, line 7: .* --documents lines"):
        read(path)
    assert len(read(path, documents="lines")) == 20
    path.write_text("short\n\n" + "a line of text\n" * 20 + "\n" + "x" * 150 + "\n\nagain\n")
    assert read_skipping(path) == (["short", "again"], [("a.txt", 9), ("a.txt", 24)])


@pytest.mark.parametrize("suffix", [".TXT", ".TXT.GZ", ".txt.Gz"])
def test_suffixes_may_be_in_capitals(suffix: str, tmp_path: Path) -> None:
    pack = gzip.compress if suffix.lower().endswith("gz") else bytes
    (tmp_path / f"book{suffix}").write_bytes(pack(b"a book\n"))
    assert read(tmp_path / f"book{suffix}") == ["a book"]
    assert [one.name for source in find_sources([str(tmp_path)]) for one in source.files] == [f"book{suffix}"]


def test_a_line_that_is_too_long_for_a_document_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bothways.corpus.readers.LONGEST", 12)
    (tmp_path / "a.txt").write_text("short\na line that is long\nagain\n")
    with pytest.raises(DataError, match=r"a.txt, line 2: expected documents of at most"):
        read(tmp_path / "a.txt", documents="lines")
    assert read_skipping(tmp_path / "a.txt", documents="lines") == (["short", "again"], [("a.txt", 2)])
