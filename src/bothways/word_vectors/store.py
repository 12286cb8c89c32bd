"""Word vectors: nearest words, similarity, and word2vec's text format, which gensim and many others read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np

from bothways.arguments import all_checked, at_least, several
from bothways.claims import claimed
from bothways.corpus.lines import PACKED, kept, lines
from bothways.errors import ModelError, UsageError
from bothways.files import whole_file
from bothways.sums import check_sum, forget_sum, write_sum

MOST_NUMBERS = 2**20
_ENDS = re.compile(r"[ \t\n\v\f\r]")
"""What ends a word for one reader of the format or another."""


@all_checked
@dataclass(frozen=True, repr=False)
class WordVectors:
    """Words and their vectors, the commonest word first.

    words    V different words without spaces, tabs and line ends; other white space (U+00A0) is part of a word
    vectors  float32 [V, D]

    Raises (at once):
        UsageError: another number of vectors than of words, a word twice, or one that holds a space or nothing.
    """

    words: Sequence[str]
    vectors: np.ndarray

    def __repr__(self) -> str:
        first = ", ".join(map(repr, self.words[:3]))
        return f"WordVectors({len(self.words)} words of {self.vectors.shape[1]} numbers: {first}, ...)"

    def __post_init__(self) -> None:
        several(self.words, "word")
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.words):
            raise UsageError(f"expected a vector for each of {len(self.words)} words, got {self.vectors.shape}")
        if len(self._places) != len(self.words):
            raise UsageError("expected words that are all different, got one twice")
        for word in self.words:
            _check_word(word)

    @classmethod
    def load(cls, path: str | Path) -> WordVectors:
        """Reads word2vec's text format: a line "V D", then V lines of a word and D numbers, parted by spaces.

        Raises:
            ModelError: no file there, or not in that format; the line is named.
        """
        path = Path(path)
        if not path.is_file():
            raise ModelError(f"{path}: expected word vectors in word2vec's text format, found no file")
        check_sum(path)
        rows = ((line, text) for _, line, text in kept(lines(path), path, _refuse) if text.strip(" "))
        count, dim = _header(path, next(rows, (1, ""))[1])
        if path.suffix.lower() not in PACKED and (least := count * (2 * dim + 1)) > (size := path.stat().st_size):
            why = f"expected {count:,} words of {dim:,} numbers, {least:,} bytes or more, got {size:,} bytes"
            _refuse(path, 1, f"{why}: cut, or one of the two numbers is wrong")
        places: dict[str, int] = {}

        def read() -> Iterator[np.ndarray]:
            for line, text in rows:
                word, *numbers = text.rstrip(" ").rsplit(" ", dim)
                if len(numbers) != dim:
                    _refuse(path, line, f"expected a word and numbers, got {len(numbers)} numbers instead of {dim}")
                _check_word(word, f"{path}, line {line}: ")
                if (first := places.setdefault(word, line)) != line:
                    fewer = "Leave out one of the two lines, and make the number of words in line 1 one less"
                    _refuse(path, line, f"expected different words, got {word!r} again, after line {first}. {fewer}.")
                try:
                    yield np.array(numbers, dtype=np.float32)
                except ValueError as error:
                    _refuse(path, line, f"expected numbers behind the word {word!r}, got: {error}")

        vectors = np.fromiter(read(), dtype=np.dtype((np.float32, dim)))
        if len(vectors) != count:
            why = f"expected {count} words, as its first line says, got {len(vectors)}: cut, or that number is wrong"
            _refuse(path, line=0, why=why)
        return cls(list(places), vectors)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes word2vec's text format, whole or not at all; read again, the numbers are the same to the last bit.

        Raises:
            UsageError: a file is there already, or another process writes there.
            MachineError: it cannot be written.
        """
        path = refuse_existing(path, overwrite=overwrite)
        with claimed(path, kind="file"):
            with whole_file(path, newline="\n") as file:
                file.write(f"{len(self.words)} {self.vectors.shape[1]}\n")
                for word, vector in zip(self.words, self.vectors, strict=True):
                    file.write(f"{word} {' '.join([f'{number:.9g}' for number in vector.tolist()])}\n")
                forget_sum(path)  # not before all is written: until then the old file keeps its own
            write_sum(path)

    def __contains__(self, word: str) -> bool:
        return word in self._places

    def __getitem__(self, word: str) -> np.ndarray:
        """float32 [D].

        Raises:
            UsageError: the word is not known; near ones are named.
        """
        if word not in self._places:
            near = get_close_matches(word, self.words, n=3)
            hint = f" Near it: {', '.join(near)}." if near else ""
            raise UsageError(f"{word!r} is none of the {len(self.words)} words.{hint}")
        return np.asarray(self.vectors[self._places[word]])

    def similarity(self, one: str, other: str) -> float:
        """The cosine of two words.

        Raises:
            UsageError: a word is not known.
        """
        a, b = (unit_vectors(self[word][None])[0] for word in (one, other))
        return float(a @ b)

    def nearest(self, *words: str, but: Sequence[str] = (), count: int = 10) -> list[tuple[str, float]]:
        """The words nearest by cosine to the sum of the words' unit vectors, those of `but` subtracted, with cosines.

        `nearest("king", "woman", but=["man"])` is the analogy man : king = woman : ? (Mikolov et al. 2013a, section 4).
        The words themselves are left out.

        Raises:
            UsageError: a word is not known, or none was given.
        """
        if not words:
            raise UsageError("expected a word to look around, got none")
        at_least(1, "count", count, "how many words are wanted")
        but = several(but, "word")
        towards, away = (np.array([self[word] for word in group]) for group in (words, but))
        sought = unit_vectors(towards).sum(axis=0) - (unit_vectors(away).sum(axis=0) if len(away) else 0)
        cosines = self._unit_vectors @ unit_vectors(sought[None])[0]
        cosines[[self._places[word] for word in (*words, *but)]] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: min(count, len(self.words) - len({*words, *but}))]
        return [(self.words[place], float(cosines[place])) for place in best]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def _unit_vectors(self) -> np.ndarray:
        return unit_vectors(self.vectors)


def _header(path: Path, line: str) -> tuple[int, int]:
    """The numbers of words and of dimensions."""
    found = line.split()
    if len(found) != 2 or not all(one.isdecimal() and len(one) < 20 and int(one) for one in found):
        why = f"expected a number of words and one of dimensions, as word2vec's text format begins, got {line[:40]!r}"
        if len(found) > 3:
            file = shlex.quote(str(path))
            begin = f'(echo "$(wc -l < {file}) {len(found) - 1}"; cat {file}) > NEW.vec'
            why += f". A file without that line, as GloVe's? Put it there: {begin}"
        _refuse(path, 1, why)
    count, dim = map(int, found)
    if dim > MOST_NUMBERS:
        _refuse(path, 1, f"expected vectors of up to {MOST_NUMBERS:,} numbers, got {dim:,}")
    return count, dim


def _check_word(word: str, place: str = "") -> None:
    """
    Raises:
        UsageError: a word that the format cannot hold.
    """
    if not word or _ENDS.search(word):
        raise UsageError(f"{place}expected words without white space, got {word!r}: write new_york for 'new york'")


def _refuse(path: Path, line: int, why: str) -> NoReturn:
    """
    Raises:
        ModelError: always.
    """
    place = f"{path}, line {line}" if line else f"{path}"
    raise ModelError(f"{place}: {why}")


def refuse_existing(path: str | Path, *, overwrite: bool) -> Path:
    """
    Raises:
        UsageError: a folder is there, or a file that is not to be overwritten.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path}: expected a file to write, got a folder")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already. Name another file, or replace it with --overwrite.")
    return path


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """[n, D] at length 1; zero stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))
