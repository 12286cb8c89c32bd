"""Files to documents: text, JSON lines, CSV, TSV, Parquet, compressed or not. Nothing is held but one document.

A record's fields are read as parts; joined by a line end they are a document, or two of them are the sides of a pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from bothways.corpus.lines import LONGEST, ParseFailure, Skip, kept, lines, refuse
from bothways.corpus.options import PrepareOptions
from bothways.corpus.records import RECORDS, read_records, suffix_of
from bothways.errors import UsageError

FORMATS = (".txt", *RECORDS)
"""What can be read, by suffix; all but Parquet also with .gz or .zst after it."""

TOO_LONG = f"expected documents of at most {LONGEST >> 20} Mi characters, got a longer one"
PART = "Part documents by blank lines, or take every line as one: --documents lines"
Parts = tuple[str, ...]
"""What stands in the fields that were asked for."""


@dataclass(frozen=True, slots=True)
class DocumentReader:
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
        if suffix_of(path) == ".txt":
            yield from self._text(path)
        else:
            yield from map("\n".join, self._parts(path, self.options.fields))

    def pairs(self, path: Path, fields: Parts) -> Iterator[Parts]:
        """The pairs of one file, in order: what stands in two fields, or in the first two columns of a .tsv whose first
        line does not name them.

        Raises:
            DataError: the file cannot be read, or a pair is longer than can be held.
            UsageError: plain text, or a table without a field that was asked for.
        """
        if suffix_of(path) == ".txt":
            raise UsageError(f"{path}: expected pairs in {', '.join(RECORDS)}, got text")
        if suffix_of(path) == ".tsv" and not _has_names(path, fields):
            found = ((line, _columns(one)) for line, one in lines(path))
            yield from (pair for _, _, pair in kept(found, path, self.skip) if pair)
        else:
            yield from self._parts(path, fields)

    def _parts(self, path: Path, fields: Sequence[str]) -> Iterator[Parts]:
        for _, line, record in read_records(path, self.skip, fields=fields):
            parts = _parts_of(record, fields)
            if isinstance(parts, ParseFailure):
                self.skip(path, line, parts.why)
            else:
                yield parts

    def _text(self, path: Path) -> Iterator[str]:
        """Plain text, cut into documents as the options say."""
        found = kept(lines(path), path, self.skip)
        if self.options.documents == "lines":
            for _, number, line in found:
                if len(line) > LONGEST:
                    self.skip(path, number, TOO_LONG)
                else:
                    yield line
            return
        block: list[str] = []
        size = 0
        for _, number, line in chain(found, [(0, 0, "")]):
            if line.strip() or (number and self.options.documents == "files"):
                size += len(line) + 1
                if size <= LONGEST:
                    block.append(line)
                elif block or size == len(line) + 1:  # the rest of it is passed over
                    block = []
                    self.skip(path, number, f"{TOO_LONG}. {PART}")
            else:
                if block:
                    yield "\n".join(block)
                block, size = [], 0


def readable(path: Path) -> bool:
    """Whether the name is one of a format that can be read."""
    return suffix_of(path) in FORMATS


def _has_names(path: Path, fields: Parts) -> bool:
    """Whether the first line names the fields."""
    _, _, line = next(kept(lines(path), path, lambda *_: None), (0, 0, ""))
    return set(fields) <= set(line.split("\t"))


def _columns(line: str | ParseFailure) -> tuple[str, str] | ParseFailure | None:
    """The first two of a line with a tab between them, and nothing quoted; nothing of an empty line."""
    if isinstance(line, ParseFailure):
        return line
    first, tab, rest = line.partition("\t")
    if not line.strip():
        return None
    if not tab:
        return ParseFailure("expected two columns with a tab between them, got one")
    if len(line) > LONGEST:
        return ParseFailure(f"expected at most {LONGEST >> 20} Mi characters, got {len(line)}")
    return first, rest.partition("\t")[0]


def _parts_of(record: Mapping[str, Any], fields: Sequence[str]) -> Parts | ParseFailure:
    """The fields' texts."""
    parts = []
    for field in fields:
        part = record.get(field)
        if not isinstance(part, str):
            return ParseFailure(
                f"expected text in field {field!r}, got {type(part).__name__}; it has {', '.join(record)}"
            )
        parts.append(part)
    text = "\n".join(parts)
    if len(text) > LONGEST:
        return ParseFailure(f"expected at most {LONGEST >> 20} Mi characters, got {len(text)}")
    return tuple(parts)
