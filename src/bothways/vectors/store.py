"""Word vectors: nearest words, similarity, and word2vec's text format, which gensim and many others read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

import numpy as np

from bothways.arguments import all_checked, several
from bothways.errors import ModelError, UsageError
from bothways.files import writing


@all_checked
@dataclass(frozen=True, repr=False)
class WordVectors:
    """Words and their vectors, the commonest word first.

    words    V different words without white space
    vectors  float32 [V, D]

    Raises (at once):
        UsageError: another number of vectors than of words, a word twice, or one that holds white space or nothing.
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
            if [word] != word.split():
                raise UsageError(f"expected words without white space, got {word!r}: write new_york for 'new york'")

    @classmethod
    def load(cls, path: str | Path) -> WordVectors:
        """Reads word2vec's text format: a line "V D", then V lines of a word and D numbers, parted by spaces.

        Raises:
            ModelError: no file there, or not in that format; the line is named.
        """
        path = Path(path)
        if not path.is_file():
            raise ModelError(f"{path}: expected word vectors in word2vec's text format, found no file")
        line = 1
        try:
            with open(path, encoding="utf-8", newline="\n") as file:  # other line ends may stand inside a word
                count, dim = (int(number) for number in file.readline().split())
                words, vectors = [], np.empty((count, dim), dtype=np.float32)
                for line in range(2, count + 2):
                    word, *numbers = file.readline().rstrip(" \n").rsplit(" ", dim)
                    if len(numbers) != dim:
                        raise ValueError(f"{len(numbers)} numbers instead of {dim}")
                    vectors[line - 2] = numbers
                    words.append(word)
        except ValueError as error:
            raise ModelError(f"{path}, line {line}: expected word2vec's text format, got: {error}") from None
        return cls(words, vectors)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes word2vec's text format, whole or not at all; read again, the numbers are the same to the last bit.

        Raises:
            UsageError: a file is there already.
            MachineError: it cannot be written.
        """
        path = refuse_existing(path, overwrite=overwrite)
        aside = path.with_name(f".{path.name}.partial")
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(aside, "w", encoding="utf-8", newline="\n") as file:
                file.write(f"{len(self.words)} {self.vectors.shape[1]}\n")
                for word, vector in zip(self.words, self.vectors.tolist(), strict=True):
                    file.write(f"{word} {' '.join([f'{number:.9g}' for number in vector])}\n")
            aside.replace(path)

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
        a, b = (_units(self[word][None])[0] for word in (one, other))
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
        if count < 1:
            raise UsageError(f"count is how many words are wanted, 1 or more, got {count}")
        but = several(but, "word")
        towards, away = (np.array([self[word] for word in group]) for group in (words, but))
        sought = _units(towards).sum(axis=0) - (_units(away).sum(axis=0) if len(away) else 0)
        cosines = self._unit_vectors @ _units(sought[None])[0]
        cosines[[self._places[word] for word in (*words, *but)]] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: min(count, len(self.words) - len({*words, *but}))]
        return [(self.words[place], float(cosines[place])) for place in best]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def _unit_vectors(self) -> np.ndarray:
        return _units(self.vectors)


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


def _units(vectors: np.ndarray) -> np.ndarray:
    """[n, D] at length 1; zero stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))
