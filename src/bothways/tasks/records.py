"""Files of examples: which column is which, and what is wrong with a record, by file, line and field."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from bothways.corpus.options import PrepareOptions
from bothways.corpus.readers import Reader
from bothways.errors import DataError, UsageError

NAMES: dict[str, tuple[str, ...]] = {
    "text": ("text", "sentence", "review", "content", "text_a", "sentence1", "premise", "question1", "query"),
    "other": ("text_b", "sentence2", "hypothesis", "question2", "document", "passage"),
    "label": ("label", "labels", "class", "category", "intent", "sentiment", "topic", "target"),
    "score": ("score", "similarity", "rating", "label"),
    "tokens": ("tokens", "words"),
    "tags": ("tags", "ner_tags", "labels"),
    "spans": ("spans", "entities"),
    "offsets": ("offsets", "offset_mapping"),
    "characters": ("characters",),
    "question": ("question", "query", "prompt"),
    "context": ("context", "passage", "article", "dialogue"),
    "answers": ("answers", "answer"),
    "choices": ("choices", "options", "endings"),
    "answer": ("answer", "label"),
    "intent": ("intent", "label", "class"),
    "head": ("head", "e1", "subject"),
    "tail": ("tail", "e2", "object"),
    "positive": ("positive", "text_b", "sentence2", "document", "passage", "answer", "title"),
    "negative": ("negative", "text_c"),
    "likeness": ("score", "similarity"),
    "id": ("id", "guid", "idx"),
}
"""{role: names that its column often has, the likeliest first}."""


class BadField(ValueError):
    """A field of a record that is not what the task needs: (field, what was expected)."""

    def __init__(self, column: str, expected: str) -> None:
        super().__init__(f"expected {expected}")
        self.column = column


@dataclass(frozen=True, slots=True)
class Columns:
    """{role: column}, guessed from the names of the first record's fields where it is not said; and whether they are
    those of a table, where all is text."""

    names: Mapping[str, str]
    table: bool = False

    @classmethod
    def guess(
        cls,
        fields: Iterable[str],
        *,
        needed: Iterable[str],
        optional: Iterable[str],
        said: Mapping[str, str],
        file: Path,
    ) -> Columns:
        """
        Raises:
            UsageError: a column that is needed is not there, or one that was named is not; those there are listed.
        """
        there, found = list(fields), dict(said)
        if wrong := next(((role, name) for role, name in said.items() if name not in there), None):
            raise UsageError(f"{file}: expected a column {wrong[1]!r} for {wrong[0]}, got {', '.join(there) or 'none'}")
        needed = list(needed)
        for role in (*needed, *optional):
            left = (name for name in NAMES[role] if name in there and name not in found.values())
            if role not in found and (name := next(left, None)):
                found[role] = name
        if missing := next((role for role in needed if role not in found), None):
            raise UsageError(
                f"{file}: expected a column for {missing}, got {', '.join(there) or 'none'}. "
                f"Name it: --column {missing}=NAME"
            )
        return cls(found, not {".csv", ".tsv"}.isdisjoint(file.suffixes))

    def __str__(self) -> str:
        return ", ".join(f"{role} from {name!r}" for role, name in self.names.items())

    def id(self, record: Mapping[str, Any], number: int) -> Any:
        """What the record is called, or its number."""
        return record.get(self.names["id"], number) if "id" in self.names else number

    def value(self, record: Mapping[str, Any], role: str) -> Any:
        """Whatever stands there; of a table's field that is JSON, as it may be of lists, what it says."""
        value = record.get(self.names[role])
        if self.table and isinstance(value, str) and value.startswith(("[", "{")):
            try:
                return json.loads(value)
            except json.JSONDecodeError:
                return value
        return value

    def text(self, record: Mapping[str, Any], role: str) -> str:
        """
        Raises:
            BadField: no text, or none but white space.
        """
        value = record.get(self.names[role])
        if not isinstance(value, str) or not value.strip():
            raise BadField(self.names[role], f"a text, got {value!r}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadField(self.names[role], f"text, got a lone surrogate at character {error.start}") from error
        return value


Skip = Callable[[Path, int, str], None]


def refuse(path: Path, line: int, why: str) -> NoReturn:
    """A Skip that never skips."""
    place = f"{path}, line {line}" if line else f"{path}"
    raise DataError(f"{place}: {why}. Correct it, or leave out and count what is wrong with --skip-bad.")


@dataclass(slots=True)
class Skipped:
    """A Skip that notes what was left out, to be listed."""

    found: list[str] = field(default_factory=list)

    def __call__(self, path: Path, line: int, why: str) -> None:
        self.found.append(f"{path}, line {line}: {why}")


def records(path: Path, skip: Skip) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, record) of jsonl, csv or tsv, compressed or not.

    Raises:
        DataError: the file cannot be read.
        UsageError: another format.
    """
    return Reader(PrepareOptions(), skip).records(path)
