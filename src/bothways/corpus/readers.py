"""Files to documents: text, JSON lines, CSV, TSV, Parquet, compressed or not. Nothing is held but one document.

A record's fields are read as parts; joined by a line end they are a document, or two of them are the sides of a pair.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from bothways.corpus.options import PrepareOptions
from bothways.corpus.packed import BROKEN, SUFFIXES, open_packed
from bothways.errors import DataError, UsageError, needs

LONGEST = 16 << 20
"""Characters in a document at most, so that memory stays bounded."""

Parts = tuple[str, ...]
"""What stands in the fields that were asked for; of plain text, the one text."""

Skip = Callable[[Path, int, str], None]
"""Told of what does not parse (file, line or 0, why): raises, or counts it and lets reading go on."""


def refuse(path: Path, line: int, why: str) -> None:
    """A Skip that never skips."""
    place = f"{path}, line {line}" if line else f"{path}"
    raise DataError(f"{place}: {why}")


class _BadRecordError(ValueError):
    """A record without the text that was asked for."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one file after another by one set of options."""

    options: PrepareOptions
    skip: Skip = refuse

    def read(self, path: Path) -> Iterator[str]:
        """The documents of one file, in order.

        Raises:
            DataError: the file cannot be read, or a document is longer than can be held.
            UsageError: a file of another format, or a table without the column that was asked for.
        """
        if path.is_dir():
            raise UsageError(f"{path}: expected a file, got a folder")
        if not readable(path):
            raise UsageError(f"{path}: expected {', '.join(FORMATS)}, got {path.suffix or 'no suffix'}")
        for parts in FORMATS[_suffix(path)](self, path):
            yield parts[0] if len(parts) == 1 else "\n".join(parts)

    def pairs(self, path: Path, fields: tuple[str, str]) -> Iterator[tuple[str, str]]:
        """The pairs of one file, in order: what stands in two fields, or in the first two columns of a .tsv whose first
        line does not name them.

        Raises:
            DataError: the file cannot be read, or a pair is longer than can be held.
            UsageError: plain text, or a table without a field that was asked for.
        """
        suffix = _suffix(path)
        if suffix == ".txt":
            raise UsageError(
                f"{path}: expected pairs in {', '.join(name for name in FORMATS if name != '.txt')}, got text"
            )
        reader = replace(self, options=self.options.model_copy(update={"fields": fields}))
        if suffix == ".tsv" and not self._names(path, fields):
            yield from reader.columns(path)
            return
        yield from ((first, second) for first, second in FORMATS[suffix](reader, path))

    def columns(self, path: Path) -> Iterator[tuple[str, str]]:
        """The first two columns of every line, with a tab between them and nothing quoted."""
        for number, line in self.lines(path):
            first, tab, rest = line.partition("\t")
            if not line.strip():
                continue
            if not tab:
                self.skip(path, number, "expected two columns with a tab between them, got one")
            elif len(line) > LONGEST:
                self.skip(path, number, f"expected at most {LONGEST >> 20} Mi characters, got {len(line)}")
            else:
                yield first, rest.partition("\t")[0]

    def _names(self, path: Path, fields: Parts) -> bool:
        """Whether the first line names the fields."""
        _, line = next(replace(self, skip=lambda *_: None).lines(path), (0, ""))
        return set(fields) <= set(line.split("\t"))

    def lines(self, path: Path) -> Iterator[tuple[int, str]]:
        """(line number, line without its end); a line that is not UTF-8 is skipped."""
        try:
            with open_packed(path) as stream:
                for number, raw in enumerate(stream, start=1):
                    try:
                        line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                    except UnicodeDecodeError as error:
                        got = f"expected UTF-8, got {error.object[error.start : error.start + 1]!r}"
                        self.skip(path, number, f"{got} (another encoding? iconv -f GB18030 -t UTF-8, of Chinese)")
                    else:
                        yield number, line.rstrip("\r\n")
        except BROKEN as error:
            self.skip(path, 0, f"expected a whole compressed file, got a broken one ({error})")
        except OSError as error:
            raise DataError(f"{path}: expected a file to read, got: {error.strerror or error}") from error

    def text(self, path: Path) -> Iterator[Parts]:
        """Plain text, cut into documents as the options say."""
        if self.options.documents == "lines":
            yield from ((line,) for _, line in self.lines(path))
            return
        block: list[str] = []
        size = 0
        for number, line in chain(self.lines(path), [(0, "")]):
            if line.strip() or (number and self.options.documents == "files"):
                block.append(line)
                size += len(line) + 1
                if size > LONGEST:
                    raise DataError(
                        f"{path}, line {number}: expected documents of at most {LONGEST >> 20} Mi characters, got a "
                        "longer one. Part documents by blank lines, or take every line as one: --documents lines."
                    )
            elif block:
                yield ("\n".join(block),)
                block, size = [], 0

    def records(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """(line number, record) of JSON lines, CSV or TSV, whatever its fields.

        Raises:
            DataError: the file cannot be read.
            UsageError: another format.
        """
        kinds = {".jsonl": self._json_records, ".csv": self._table_records, ".tsv": self._table_records}
        kind = kinds.get(_suffix(path))
        if kind is None:
            raise UsageError(f"{path}: expected records in {', '.join(kinds)}, each also with .gz or .zst after it")
        for number, record in kind(path):
            if not isinstance(record, dict):
                self.skip(path, number, f"expected an object with fields, got {type(record).__name__}")
            elif None in record:  # where the csv module puts what has no column
                self.skip(path, number, f"expected {len(record) - 1} columns, got more")
            else:
                yield number, record

    def json_lines(self, path: Path) -> Iterator[Parts]:
        """One record a line."""
        for number, record in self._json_records(path):
            yield from self._document(record, path, number)

    def _json_records(self, path: Path) -> Iterator[tuple[int, Any]]:
        for number, line in self.lines(path):
            if line.strip():
                try:
                    record = json.loads(line)
                except (json.JSONDecodeError, RecursionError) as error:
                    self.skip(path, number, f"expected JSON, got something else ({error})")
                else:
                    yield number, record

    def table(self, path: Path) -> Iterator[Parts]:
        """CSV, or TSV by the suffix; the first line names the columns."""
        for number, record in self._table_records(path, checked=True):
            yield from self._document(record, path, number)

    def _table_records(self, path: Path, *, checked: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
        at = 0

        def lines() -> Iterator[str]:
            nonlocal at
            for number, line in self.lines(path):
                at = number
                yield line + "\n"

        tabs = _suffix(path) == ".tsv"
        plain = tabs and not checked  # a record a line: quotes mean themselves in published ones
        with _long_fields():
            records = csv.DictReader(
                lines(),
                delimiter="\t" if tabs else ",",
                quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL,
                strict=True,
            )
            if plain:
                records.fieldnames = [_unquoted(name) for name in records.fieldnames or ()]
            self._check_names(path, records.fieldnames or ())
            if checked:
                self._check_columns(path, records.fieldnames or ())
            while True:
                try:
                    record = next(records)
                except StopIteration:
                    return
                except csv.Error as error:
                    self.skip(path, at, f"expected {_suffix(path)[1:]}, got something else ({error})")
                else:
                    yield at, {name: _unquoted(value) for name, value in record.items()} if plain else record

    def parquet(self, path: Path) -> Iterator[Parts]:
        """One record a row; needs pyarrow."""
        try:
            from pyarrow import ArrowException, parquet
        except ImportError as error:
            raise needs("pyarrow", "parquet") from error
        try:
            with parquet.ParquetFile(path) as file:
                self._check_columns(path, file.schema_arrow.names)
                batches = file.iter_batches(batch_size=256, columns=list(self.options.fields))
                for row, record in enumerate(chain.from_iterable(batch.to_pylist() for batch in batches), start=1):
                    yield from self._document(record, path, row)
        except (ArrowException, OSError) as error:
            self.skip(path, 0, f"expected Parquet, got something else ({error})")

    def _check_names(self, path: Path, columns: Sequence[str]) -> None:
        if twice := next((name for place, name in enumerate(columns) if name in columns[:place]), None):
            raise UsageError(f"{path}: expected a name for each column, got {twice!r} twice")

    def _check_columns(self, path: Path, columns: Iterable[str]) -> None:
        missing = [field for field in self.options.fields if field not in columns]
        if missing:
            found = ", ".join(columns) or "none"
            raise UsageError(f"{path}: expected a column {missing[0]!r}, got {found}. Name the text with --field.")

    def _document(self, record: Any, path: Path, line: int) -> Iterator[Parts]:
        """The record's parts, or none if it is bad and bad ones are skipped."""
        try:
            yield _parts(record, self.options.fields)
        except _BadRecordError as error:
            self.skip(path, line, str(error))


_QUOTED = re.compile(r'"((?:[^"]|"")*)"')


def _unquoted(field: Any) -> Any:
    """A field without the quotes that a spreadsheet puts around it."""
    found = _QUOTED.fullmatch(field) if isinstance(field, str) else None
    return found[1].replace('""', '"') if found else field


def _parts(record: Any, fields: Iterable[str]) -> Parts:
    """The fields' texts."""
    if not isinstance(record, dict):
        raise _BadRecordError(f"expected a record with {', '.join(fields)}, got {type(record).__name__}")
    parts = []
    for field in fields:
        part = record.get(field)
        if not isinstance(part, str):
            known = ", ".join(map(str, record))
            raise _BadRecordError(f"expected text in field {field!r}, got {type(part).__name__}; it has {known}")
        parts.append(part)
    text = "\n".join(parts)
    if len(text) > LONGEST:
        raise _BadRecordError(f"expected at most {LONGEST >> 20} Mi characters, got {len(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _BadRecordError(f"expected text, got a lone surrogate at character {error.start}") from error
    return tuple(parts)


FORMATS: dict[str, Callable[[Reader, Path], Iterator[Parts]]] = {
    ".txt": Reader.text,
    ".jsonl": Reader.json_lines,
    ".csv": Reader.table,
    ".tsv": Reader.table,
    ".parquet": Reader.parquet,
}
"""What can be read, by suffix; all but Parquet also with .gz or .zst after it."""


def readable(path: Path) -> bool:
    """Whether the name is one of a format that can be read."""
    return _suffix(path) in FORMATS


def _suffix(path: Path) -> str:
    inner = Path(path.stem) if path.suffix in SUFFIXES else path
    return inner.suffix.lower()


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lifts the csv module's limit on the length of a field."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)
