"""Texts of a file: one a line, or one a record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bothways.corpus.lines import kept, lines, refuse
from bothways.corpus.options import PrepareOptions
from bothways.corpus.readers import DocumentReader
from bothways.corpus.records import RECORDS, field_names, read_records, suffix_of
from bothways.errors import UsageError
from bothways.tasks.records import NAMES, column_of


def texts_of(file: Path) -> Iterator[str]:
    """The texts of a file, empty ones left out.

    Raises:
        UsageError: no field of its records is called as texts are.
        DataError: the file cannot be read.
    """
    if suffix_of(file) in RECORDS:
        found = DocumentReader(PrepareOptions(fields=(_text_field(file),))).read(file)
    else:
        found = (line for _, _, line in kept(lines(file), file, refuse))
    return filter(None, map(str.strip, found))


def _text_field(file: Path) -> str:
    """The field of a file's records that holds the texts, by the names that fine-tuning knows; of JSON lines the first
    record says which there are."""
    as_json = suffix_of(file) == ".jsonl"
    fields = next((tuple(record) for _, _, record in read_records(file)), ()) if as_json else field_names(file)
    found = column_of("text", fields)
    if fields and found is None:
        known = f"text ({', '.join(name for name in NAMES['text'] if name != 'text')})"
        raise UsageError(f"{file}: expected a field that is called {known}, got {', '.join(fields)}. Rename one.")
    return found or "text"
