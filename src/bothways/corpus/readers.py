"""Files to documents: plain text, JSON lines, CSV, TSV, Parquet, compressed or not. Nothing is held but one document."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from bothways.corpus.options import PrepareOptions
from bothways.errors import DataError, UsageError, needs

LONGEST = 16 << 20
"""Characters in a document at most, so that memory stays bounded."""

Skip = Callable[[Path, int, str], None]
"""Told of what does not parse (file, line, why): raises, or counts it and lets reading go on."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one file after another by one set of options."""

    options: PrepareOptions
    skip: Skip

    def read(self, path: Path) -> Iterator[str]:
        """The documents of one file, in order."""
        try:
            yield from FORMATS[_suffix(path)](self, path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self.skip(path, 0, f"a broken gzip file ({error})")
        except OSError as error:
            raise DataError(f"{path}: expected a file to read, got: {error.strerror or error}") from error

    def lines(self, path: Path) -> Iterator[tuple[int, str]]:
        """(line number, line without its end); a line that is not UTF-8 is skipped."""
        with _open(path) as stream:
            for number, raw in enumerate(stream, start=1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    self.skip(path, number, f"not UTF-8 ({error.reason} at byte {error.start})")
                else:
                    yield number, line.rstrip("\r\n")

    def text(self, path: Path) -> Iterator[str]:
        """Plain text, cut into documents as the options say."""
        if self.options.documents == "lines":
            yield from (line for _, line in self.lines(path) if line.strip())
            return
        block: list[str] = []
        size = 0
        for number, line in chain(self.lines(path), [(0, "")]):
            if line.strip() or (number and self.options.documents == "files"):
                block.append(line)
                size += len(line) + 1
                if size > LONGEST:
                    raise DataError(
                        f"{path}, line {number}: expected documents of at most {LONGEST >> 20} Mi characters, got a longer one. "
                        "Part documents by blank lines, or prepare with documents=lines."
                    )
            elif block:
                yield "\n".join(block)
                block, size = [], 0

    def json_lines(self, path: Path) -> Iterator[str]:
        for number, line in self.lines(path):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                yield self._join(record)
            except (json.JSONDecodeError, RecursionError) as error:
                self.skip(path, number, f"not JSON ({error})")
            except _BadRecord as error:
                self.skip(path, number, str(error))

    def table(self, path: Path) -> Iterator[str]:
        """CSV, or TSV by the suffix; the first line names the columns."""
        delimiter = "\t" if _suffix(path) == ".tsv" else ","
        lines = self.lines(path)
        with _long_fields():
            reader = csv.DictReader((line + "\n" for _, line in lines), delimiter=delimiter, strict=True)
            columns = reader.fieldnames or ()
            self._check_columns(path, columns)
            while True:
                try:
                    record = next(reader)
                    yield self._join(record)
                except StopIteration:
                    return
                except csv.Error as error:
                    self.skip(path, reader.line_num, f"not {_suffix(path)[1:]} ({error})")
                except _BadRecord as error:
                    self.skip(path, reader.line_num, str(error))

    def parquet(self, path: Path) -> Iterator[str]:
        try:
            from pyarrow import ArrowException, parquet
        except ImportError as error:
            raise needs("pyarrow", "parquet") from error
        fields = list(self.options.fields)
        try:
            with parquet.ParquetFile(path) as file:
                self._check_columns(path, file.schema_arrow.names)
                row = 0
                for batch in file.iter_batches(batch_size=256, columns=fields):
                    for record in batch.to_pylist():
                        row += 1
                        try:
                            yield self._join(record)
                        except _BadRecord as error:
                            self.skip(path, row, str(error))
        except ArrowException as error:
            self.skip(path, 0, f"not Parquet ({error})")

    def _check_columns(self, path: Path, columns: Any) -> None:
        missing = [field for field in self.options.fields if field not in columns]
        if missing:
            raise UsageError(
                f"{path}: expected a column {missing[0]!r}, got {', '.join(columns)}. Name the text with fields=..."
            )

    def _join(self, record: Any) -> str:
        if not isinstance(record, dict):
            raise _BadRecord(f"expected a record with {', '.join(self.options.fields)}, got {type(record).__name__}")
        parts = []
        for field in self.options.fields:
            part = record.get(field)
            if not isinstance(part, str):
                known = ", ".join(map(str, record))
                raise _BadRecord(f"expected text in field {field!r}, got {type(part).__name__}; the record has {known}")
            parts.append(part)
        text = "\n".join(parts)
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise _BadRecord(f"a lone surrogate at character {error.start}") from error
        return text


class _BadRecord(ValueError):
    pass


FORMATS: dict[str, Callable[[Reader, Path], Iterator[str]]] = {
    ".txt": Reader.text,
    ".jsonl": Reader.json_lines,
    ".csv": Reader.table,
    ".tsv": Reader.table,
    ".parquet": Reader.parquet,
}
"""What can be read, by suffix; all but Parquet also with .gz or .zst after it."""


def readable(path: Path) -> bool:
    return _suffix(path) in FORMATS


def _suffix(path: Path) -> str:
    inner = Path(path.stem) if path.suffix in (".gz", ".zst") else path
    return inner.suffix.lower()


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".zst":
        try:
            import zstandard
        except ImportError as error:
            raise needs("zstandard", "zstd") from error
        return io.BufferedReader(zstandard.open(path, "rb"))
    return path.open("rb")


class _long_fields:
    """Lifts the csv module's limit on the length of a field while a file is read."""

    def __enter__(self) -> None:
        self._before = csv.field_size_limit(LONGEST)

    def __exit__(self, *_: object) -> None:
        csv.field_size_limit(self._before)
