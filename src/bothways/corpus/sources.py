"""Where documents come from: a file, a folder, or what the interpreter brings along, each with a weight.

A source may name its language, or hold pairs in two; then all sources do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bothways.corpus import python_code
from bothways.corpus.document_index import MOST_LANGUAGES
from bothways.corpus.python_docs import python_docs
from bothways.corpus.readers import FORMATS, DocumentReader, readable
from bothways.errors import DataError, UsageError

_LANGUAGE = r"[^\W\d]\w*"
_SIDE = rf"({_LANGUAGE})(?::([^:=-]+))?"
_PAIR = re.compile(rf"{_SIDE}-{_SIDE}=(.+)", re.DOTALL)
_PAIRS_LIKE = "en-fr=FILE, whose fields are named en and fr, or en:english-fr:french=FILE, which names other fields"


@dataclass(frozen=True, slots=True)
class Source:
    """A named source: how often its training documents stand in the shards, and its files in order.

    languages  that of its documents, or those of the two sides of its pairs; none where none was named
    fields     those of the two sides, in files
    make       gives the documents, where there are no files
    """

    name: str
    weight: float
    files: tuple[Path, ...] = ()
    languages: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    make: Callable[[], Sequence[Any]] | None = None

    @property
    def paired(self) -> bool:
        """Whether its documents are pairs in two languages."""
        return len(self.languages) == 2

    def read(self, reader: DocumentReader) -> Iterator[tuple[str, ...]]:
        """Its documents in order, each as its text, or as the two sides of a pair."""
        made = self.make() if self.make else ()
        yield from made if self.paired else zip(made)
        for path in self.files:
            yield from reader.pairs(path, self.fields) if self.paired else zip(reader.read(path))


BUILT_IN: dict[str, tuple[Source, ...]] = {
    "python-docs": (Source("python-docs", 1.0, make=lambda: python_docs()),),
    "python-code": (
        Source("python-code", 1.0, languages=python_code.LANGUAGES, make=python_code.described),
        Source("python-code alone", 1.0, languages=python_code.LANGUAGES[1:], make=python_code.undescribed),
    ),
}
"""What every Python brings along: its documentation; its functions, with their descriptions, and without."""


def find_sources(texts: Sequence[str], pairs: Sequence[str] = ()) -> tuple[Source, ...]:
    """`python-docs`, `python-code`, `PATH`, `PATH=WEIGHT`, `LANGUAGE=PATH`, `LANGUAGE=PATH=WEIGHT`; and of pairs,
    `LANGUAGE-LANGUAGE=PATH`, with `:FIELD` behind a language whose field has another name.

    Raises:
        DataError: a path that is missing or holds no file that can be read.
        UsageError: no source, one given twice, a weight that is not a positive number, or a language that is missing.
    """
    if not texts and not pairs:
        raise UsageError(f"expected at least one source: a file, a folder, or {' or '.join(BUILT_IN)}; got none")
    sources = [source for text in texts for source in _find(text)] + [_find_pairs(text) for text in pairs]
    once: set[tuple[object, ...]] = set()
    for source in sources:
        for path in source.files or (source.name,):
            place = path.resolve() if isinstance(path, Path) else path
            if (place, source.fields) in once:
                raise UsageError(f"{path} is given twice: to repeat it give it a weight, {path}=2")
            once.add((place, source.fields))
    _check_languages(sources)
    return tuple(sources)


def languages_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """The languages in the order in which they are first named, which numbers them."""
    return tuple(dict.fromkeys(name for source in sources for name in source.languages))


def _check_languages(sources: Sequence[Source]) -> None:
    named = languages_of(sources)
    silent = [source.name for source in sources if not source.languages]
    if named and silent:
        raise UsageError(
            f"{silent[0]} has no language, but {', '.join(named)} were named: name one for every source, "
            f"{named[0]}={silent[0]}"
        )
    if len(named) > MOST_LANGUAGES:
        raise UsageError(f"expected at most {MOST_LANGUAGES} languages, got {len(named)}")


def _weighed(text: str) -> tuple[str, float]:
    """What stands before the weight, and the weight; a name that is there as it stands has none."""
    place, equals, weight = text.rpartition("=")
    if not equals or Path(text).exists():
        return text, 1.0
    number = re.fullmatch(r"\d+(\.\d+)?", weight)
    if not number and re.fullmatch(_LANGUAGE, text.partition("=")[0]):
        return text, 1.0
    if not number or not 0 < float(weight) <= 100:
        raise UsageError(f"{text}: expected a weight of more than 0 and at most 100 after '=', got {weight!r}")
    return place, float(weight)


def _find(text: str) -> tuple[Source, ...]:
    place, weight = _weighed(text)
    languages: tuple[str, ...] = ()
    before, equals, behind = place.partition("=")
    if equals and not Path(place).exists() and re.fullmatch(_LANGUAGE, before):
        place, languages = behind, (before,)
    if place in BUILT_IN:
        made = BUILT_IN[place]
        if languages and made[0].languages:
            raise UsageError(f"{text}: {place} is in {' and '.join(made[0].languages)}; leave {before!r} out")
        return tuple(Source(one.name, weight, languages=one.languages or languages, make=one.make) for one in made)
    name, files = _files(place)
    return (Source(name, weight, files, languages),)


def _find_pairs(text: str) -> Source:
    found = _PAIR.fullmatch(text)
    if not found:
        raise UsageError(f"--pairs {text}: expected {_PAIRS_LIKE}")
    one, one_field, two, two_field, rest = found.groups()
    place, weight = _weighed(rest)
    name, files = _files(place)
    fields = (one_field or one, two_field or two)
    if fields[0] == fields[1]:
        raise UsageError(f"--pairs {text}: both sides are read from the field {fields[0]!r}; expected {_PAIRS_LIKE}")
    return Source(name, weight, files, (one, two), fields)


def _files(place: str) -> tuple[str, tuple[Path, ...]]:
    """The name of a file or folder, and the files to read."""
    path = Path(place)
    known = ", ".join(FORMATS)
    if path.is_dir():
        shown = (file for file in path.rglob("*") if "/." not in f"/{file.relative_to(path).as_posix()}")
        files = tuple(sorted(file for file in shown if readable(file) and file.is_file()))
        if not files:
            raise DataError(f"{path}: expected a folder with files to read ({known}; also .gz, .zst), found none")
        return _text(path.resolve().name), files
    if not path.is_file():
        built_in = " or ".join(BUILT_IN)
        raise DataError(f"{place}: expected a file, a folder or {built_in}, found nothing there")
    if not readable(path):
        raise DataError(
            f"{place}: expected a file to read ({known}; also .gz, .zst), got {path.suffix or 'no suffix'!r}"
        )
    return _text(path.name), (path,)


def _text(name: str) -> str:
    """
    Raises:
        UsageError: a name that is no UTF-8, which no index could hold.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name!r}: expected a name in UTF-8: give it another") from None
    return name
