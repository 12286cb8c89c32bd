"""What can be named as a source, and what is said when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from bothways.corpus import PrepareOptions
from bothways.corpus.readers import DocumentReader
from bothways.corpus.sources import find_sources
from bothways.errors import BothwaysError, DataError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.jsonl.gz", "deep/c.tsv", "notes.pdf", ".hidden/d.txt"):
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path / "texts"


def test_a_folder_is_all_its_files_in_order(folder: Path) -> None:
    (source,) = find_sources([f"{folder}=2.5"])
    assert (source.name, source.weight) == ("texts", 2.5)
    assert [path.relative_to(folder).as_posix() for path in source.files] == ["a.jsonl.gz", "b.txt", "deep/c.tsv"]


def test_a_name_with_an_equals_sign_is_a_name(folder: Path) -> None:
    path = folder / "x=3"
    path.mkdir()
    (path / "a.txt").write_text("")
    (source,) = find_sources([str(path)])
    assert (source.name, source.weight) == ("x=3", 1.0)


@pytest.mark.parametrize(
    ("named", "error", "said"),
    [
        ([], UsageError, "at least one source"),
        (["{}/no.txt"], DataError, "found nothing there"),
        (["{}/notes.pdf"], DataError, r"expected a file to read \(.txt, .jsonl.*got '.pdf'"),
        (["{}/.hidden/.."], None, ""),
        (["{}/b.txt=0"], UsageError, "weight of more than 0"),
        (["{}/b.txt=much"], UsageError, "got 'much'"),
        (["{}/b.txt", "{}"], UsageError, "given twice"),
        (["python-docs", "python-docs=2"], UsageError, "given twice"),
    ],
)
def test_what_cannot_be_read_is_refused(
    folder: Path, named: list[str], error: type[BothwaysError] | None, said: str
) -> None:
    names = [name.format(folder) for name in named]
    if error is None:
        assert find_sources(names)
    else:
        with pytest.raises(error, match=said):
            find_sources(names)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder with files to read"):
        find_sources([str(tmp_path)])


def test_the_interpreters_documentation_is_real_prose() -> None:
    (source,) = find_sources(["python-docs"])
    documents = [text for (text,) in source.read(DocumentReader(PrepareOptions()))]
    text = "\n".join(documents)
    assert len(documents) > 300
    assert len(text) > 2_000_000
    json = next(document for document in documents if document.startswith("json\n"))
    assert "JSON (JavaScript Object Notation)" in json
    assert "\ndumps(obj, *, skipkeys=False" in json
    assert documents == [text for (text,) in source.read(DocumentReader(PrepareOptions()))]
    assert "#!/usr" not in text
