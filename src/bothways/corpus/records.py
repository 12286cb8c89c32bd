"""Files to records: JSON lines, CSV, TSV and Parquet, each with its number and the line where it begins.

One way for all that reads records, so that a line is named and counted alike wherever it is read.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from bothways.corpus.lines import LONGEST, PACKED, BrokenFileError, ParseFailure, Skip, kept, lines, refuse
from bothways.errors import UsageError, needs
from bothways.reading import UnreadableError, parse_json

Found = Iterator[tuple[int, Any]]
"""(line, what stands there)."""


def read_records(
    path: Path, skip: Skip = refuse, *, fields: Sequence[str] = ()
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(number, line, record). Numbers are from 0 and count what `skip` was told of, too; lines are from 1, and of
    Parquet are rows.

    Args:
        fields: those that a table must have as columns; of Parquet nothing else is read.

    Raises:
        DataError: the file cannot be read.
        UsageError: another format, or a table without a field.
    """
    if suffix_of(path) not in RECORDS:
        raise UsageError(f"{path}: expected records in {', '.join(RECORDS)}; all but Parquet also .gz or .zst")
    found = RECORDS[suffix_of(path)](path, fields)
    return kept(((line, _checked(one)) for line, one in found), path, skip)


def field_names(path: Path) -> tuple[str, ...]:
    """The columns of a table; of JSON lines all fields that any record has. None of a file that cannot be read: reading
    its records says why.

    Raises:
        DataError: the file is not there, or the names of its columns cannot be read.
        UsageError: another format, or a name that stands there twice.
    """
    try:
        if suffix_of(path) in TABLES:
            return _CsvTable(path).names
        if suffix_of(path) == ".parquet":
            with _opened(path) as file:
                return tuple(file.schema_arrow.names)
    except BrokenFileError:
        return ()
    return tuple(dict.fromkeys(name for _, _, record in read_records(path, lambda *_: None) for name in record))


def suffix_of(path: Path) -> str:
    """That of what is packed, in small letters."""
    inner = Path(path.stem) if path.suffix.lower() in PACKED else path
    return inner.suffix.lower()


def _checked(found: Any) -> dict[str, Any] | ParseFailure:
    return (
        found
        if isinstance(found, dict | ParseFailure)
        else ParseFailure(f"expected an object with fields, got {type(found).__name__}")
    )


def json_lines(path: Path, fields: Sequence[str] = ()) -> Found:
    """What every line says that is not empty, be it an object or not."""
    for number, line in lines(path):
        if isinstance(line, ParseFailure):
            yield number, line
        elif line.strip():
            try:
                yield number, parse_json(line)
            except UnreadableError as error:
                yield number, ParseFailure(f"expected JSON, got something else ({error})")


def _table(path: Path, fields: Sequence[str]) -> Found:
    table = _CsvTable(path)
    _check_columns(path, table.names, fields)
    yield from table.records()


def _parquet(path: Path, fields: Sequence[str]) -> Found:
    with _opened(path) as file:
        from pyarrow import ArrowException  # what is not installed, `_opened` has said

        _check_columns(path, file.schema_arrow.names, fields)
        try:
            batches = file.iter_batches(batch_size=256, columns=list(fields) or None)
            yield from enumerate(chain.from_iterable(batch.to_pylist() for batch in batches), start=1)
        except (ArrowException, OSError) as error:
            raise BrokenFileError(f"expected Parquet, got something else ({error})") from error


def _opened(path: Path) -> Any:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise needs("pyarrow", "parquet") from error
    try:
        return parquet.ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise BrokenFileError(f"expected Parquet, got something else ({error})") from error


def _check_columns(path: Path, columns: Sequence[str], fields: Sequence[str]) -> None:
    if missing := [field for field in fields if field not in columns]:
        found = ", ".join(columns) or "none"
        hint = 'Name it: --set "fields=[NAME]", of pairs --pairs LANGUAGE:NAME-LANGUAGE:NAME=FILE'
        raise UsageError(f"{path}: expected a column {missing[0]!r}, got {found}. {hint}.")


RECORDS: dict[str, Callable[[Path, Sequence[str]], Found]] = {
    ".jsonl": json_lines,
    ".csv": _table,
    ".tsv": _table,
    ".parquet": _parquet,
}
"""What reads records, by suffix."""

TABLES = {".csv": ",", ".tsv": "\t"}
"""{suffix: what stands between columns, all of them text}."""
_SEPARATORS = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "bars"}
_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"')
_FIELDS = {
    mark: re.compile(rf'(?:{_QUOTED.pattern}|[^"{mark}]*)(?:{mark}(?:{_QUOTED.pattern}|[^"{mark}]*))*') for mark in ",;"
}
"""{separator: a record with quotes only around its fields}; the csv module lets them stand anywhere but at the
beginning."""


class _CsvTable:
    """Rows with the lines where they begin. The csv module parses them; what it took too much is given back, so that a
    quote that is never closed spoils the row it stands in and no other.

    Of a .tsv a line is a row, whatever quotes stand in it; the csv module joins lines (of a field in quotes that runs
    over them) only where they would not all be whole rows.
    """

    def __init__(self, path: Path) -> None:
        self.kind = suffix_of(path)
        self._lines = lines(path)
        self._given_back: deque[tuple[int, str | ParseFailure]] = deque()
        self._taken: list[tuple[int, str | ParseFailure]] = []
        self._doubted = 0  # the last line of a broken record, of which a part may look like a whole one
        self._separator = self._found_separator()
        self._parser = csv.reader(self, delimiter=self._separator, strict=True)
        self.names: tuple[str, ...] = ()
        self.names = self._header(path)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line for the parser."""
        self._taken.append(self._given_back.popleft() if self._given_back else next(self._lines))
        return _text(self._taken[-1]) + "\n"

    def records(self) -> Found:
        """{name: field}; a field that a short row lacks is not there. An empty line is a record only where there is one
        column."""
        columns = len(self.names)
        for line, row in self._rows():
            if isinstance(row, ParseFailure):
                yield line, row
            elif len(row) > columns:
                yield line, ParseFailure(f"expected {columns} columns, got more: {len(row)}")
            elif columns == 1 or len(row) > 1 or "".join(row).strip():
                yield line, dict(zip(self.names, row or [""], strict=False))

    def _found_separator(self) -> str:
        """Of a .csv whose first line has semicolons and no comma, the semicolon: so spreadsheets write it in half of
        Europe."""
        for numbered in self._lines:
            self._given_back.append(numbered)
            if first := _text(numbered).strip():
                return ";" if self.kind == ".csv" and ";" in first and "," not in first else TABLES[self.kind]
        return TABLES[self.kind]

    def _header(self, path: Path) -> tuple[str, ...]:
        line, row = next(((line, row) for line, row in self._rows() if any(row)), (0, []))
        own, raw = self._separator, _text(self._taken[0]) if row else ""
        if row and isinstance(spoilt := self._taken[0][1], ParseFailure):
            refuse(path, line, f"{spoilt.why}. Names of columns must be text.")
        if other := next((other for other in _SEPARATORS if own not in raw and other in raw), None):
            hint = {"\t": "Name it .tsv", ",": "Name it .csv"}.get(other, "Save it with commas, as .csv")
            got = f"{raw[:80]!r}, with {_SEPARATORS[other]} in it"
            refuse(path, line, f"expected {_SEPARATORS[own]} between the names of columns, got {got}. {hint}.")
        if isinstance(row, ParseFailure):
            got = row.why.partition(", got ")[2]
            refuse(path, line, f"expected the names of columns, got {got}: {raw[:80]!r}. Correct that line.")
        if twice := next((name for place, name in enumerate(row) if name in row[:place]), None):
            raise UsageError(f"{path}: expected a name for each column, got {twice!r} twice")
        return tuple(row)

    def _rows(self) -> Iterator[tuple[int, list[str] | ParseFailure]]:
        while (row := self._parsed()) is not None:
            if self.kind == ".tsv":
                row = self._by_tabs(row)
            elif len(self._taken) > 1 and self.names and len(row) != len(self.names):
                row = ParseFailure("expected csv, got a quote that is not closed, or not all columns")
            elif self._taken[0][0] <= self._doubted and not _FIELDS[self._separator].fullmatch(
                "\n".join(map(_text, self._taken))
            ):
                row = ParseFailure(
                    "expected csv, got a quote inside a field, behind a record that is broken: the rest of it?"
                )
            if isinstance(row, ParseFailure):
                self._doubted = self._taken[-1][0]
                self._give_back()
            spoilt = next((line for _, line in self._taken if isinstance(line, ParseFailure)), None)
            yield self._taken[0][0], spoilt or row

    def _parsed(self) -> list[str] | ParseFailure | None:
        """What the csv module makes of the next lines; None at the end."""
        self._taken.clear()
        before = csv.field_size_limit(LONGEST)
        try:
            return next(self._parser)
        except StopIteration:
            return None
        except csv.Error as error:
            unclosed = len(self._taken) > 1 or "end of data" in str(error)
            got = "a quote that is not closed" if unclosed else f"something else ({str(error).partition(' - ')[0]})"
            return ParseFailure(f"expected {self.kind[1:]}, got {got}")
        finally:
            csv.field_size_limit(before)

    def _by_tabs(self, row: list[str] | ParseFailure) -> list[str]:
        if not isinstance(row, ParseFailure) and '"' not in _text(self._taken[0]):
            return row or [""]
        columns, plain = len(self.names), [_text(line).split("\t") for line in self._taken]
        if isinstance(row, ParseFailure) or len(row) != columns or all(len(one) == columns for one in plain):
            self._give_back()
            return [_unquoted(field) for field in plain[0]]
        return row

    def _give_back(self) -> None:
        """All lines but the first."""
        self._given_back.extendleft(reversed(self._taken[1:]))
        del self._taken[1:]


def _text(numbered: tuple[int, str | ParseFailure]) -> str:
    _, line = numbered
    return line.text if isinstance(line, ParseFailure) else line


def _unquoted(field: str) -> str:
    """A field without the quotes that a spreadsheet puts around it."""
    found = _QUOTED.fullmatch(field)
    return found[1].replace('""', '"') if found else field
