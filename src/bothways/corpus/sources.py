"""Where documents come from: a file, a folder, or the interpreter's own documentation, each with a weight."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bothways.corpus.python_docs import NAME, python_docs
from bothways.corpus.readers import FORMATS, Reader, readable
from bothways.errors import DataError, UsageError


@dataclass(frozen=True, slots=True)
class Source:
    """A named source: how often its training documents stand in the shards, and its files in order."""

    name: str
    weight: float
    files: tuple[Path, ...]

    def read(self, reader: Reader) -> Iterator[str]:
        """Its documents, in order."""
        if not self.files:
            yield from python_docs()
        for path in self.files:
            yield from reader.read(path)


def find_sources(texts: Sequence[str]) -> tuple[Source, ...]:
    """`python-docs`, `PATH` or `PATH=WEIGHT`.

    Raises:
        DataError: a path that is missing or holds no file that can be read.
        UsageError: no source, one given twice, or a weight that is not a positive number.
    """
    if not texts:
        raise UsageError(f"expected at least one source: a file, a folder, or {NAME}; got none")
    sources = [_find(text) for text in texts]
    once: set[Path | str] = set()
    for source in sources:
        for path in source.files or (source.name,):
            place = path.resolve() if isinstance(path, Path) else path
            if place in once:
                raise UsageError(f"{path} is given twice: to repeat it give it a weight, {path}=2")
            once.add(place)
    return tuple(sources)


def _is_shown(file: Path, folder: Path) -> bool:
    return file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)


def _find(text: str) -> Source:
    place, weight = text, 1.0
    if "=" in text and not Path(text).exists():
        place, _, said = text.rpartition("=")
        if not re.fullmatch(r"\d+(\.\d+)?", said) or not 0 < float(said) <= 100:
            raise UsageError(f"{text}: expected a weight of more than 0 and at most 100 after '=', got {said!r}")
        weight = float(said)
    if place == NAME:
        return Source(NAME, weight, ())
    path = Path(place)
    known = ", ".join(FORMATS)
    if path.is_dir():
        files = tuple(sorted(file for file in path.rglob("*") if readable(file) and _is_shown(file, path)))
        if not files:
            raise DataError(f"{path}: expected a folder with files to read ({known}; also .gz, .zst), found none")
        return Source(path.resolve().name, weight, files)
    if not path.is_file():
        raise DataError(f"{place}: expected a file, a folder or {NAME}, found nothing there")
    if not readable(path):
        raise DataError(
            f"{place}: expected a file to read ({known}; also .gz, .zst), got {path.suffix or 'no suffix'!r}"
        )
    return Source(path.name, weight, (path,))
