"""Token shards on disk: written once, hashed by 8 MiB blocks, checked block by block when first read.

A split is one stream of documents end to end, [CLS] tokens... [SEP] [CLS] ..., cut into files of equal length.
`train-00000.tokens` holds numbers of two or four bytes, little end first; `train-00000.words` one bit for each of
them, set where a word begins; `train.documents`, where languages were named, a record a document (`document_index`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bothways.arguments import checked
from bothways.batch import Vocabulary
from bothways.corpus.document_index import Table
from bothways.corpus.hashed_files import CheckedFile, File, HashedFile
from bothways.corpus.manifest import INDEX, REQUEST, Manifest, Split, TokenType
from bothways.errors import DataError
from bothways.text import Tokenizer

SHARD = 1 << 26
"""Tokens in a file."""
_PAGE = 1 << 20  # tokens written at a time; a multiple of 8, so that bits fill whole bytes
TOKENIZER = "tokenizer"


class SplitWriter:
    """Writes one stream into a folder, page by page."""

    def __init__(self, folder: Path, split: str, token_type: TokenType) -> None:
        self._folder, self._split, self._type = folder, split, np.dtype(token_type).newbyteorder("<")
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._count = 0
        self._written = 0
        self._open: tuple[HashedFile, HashedFile] | None = None
        self._files: list[tuple[File, File]] = []
        self._table: HashedFile | None = None
        self.documents = self.bytes = self.unknown = self.pairs = 0

    def note(self, records: np.ndarray) -> None:
        """The records [D] of documents that are appended, in their order."""
        if self._table is None:
            self._table = HashedFile(self._folder / f"{self._split}.documents")
        self._table.write(records.tobytes())
        self.pairs += int((records["first"] > 0).sum())

    def append(self, tokens: np.ndarray, word_starts: np.ndarray) -> None:
        """Tokens and word starts [N], to stand after what is there."""
        self._waiting.append((tokens.astype(self._type), word_starts))
        self._count += len(tokens)
        if self._count >= _PAGE:
            self._flush(self._count - self._count % _PAGE)

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (*(self._open or ()), *([self._table] if self._table else [])):
            file.abandon()

    def finish(self) -> Split:
        """Writes what is left, and says what the split holds."""
        self._flush(self._count)
        self._close_files()
        return Split(
            documents=self.documents,
            token_count=self._written,
            bytes=self.bytes,
            unknown=self.unknown,
            shards=tuple(tokens for tokens, _ in self._files),
            words=tuple(words for _, words in self._files),
            pairs=self.pairs,
            table=None if self._table is None else self._table.finish(),
        )

    def _flush(self, count: int) -> None:
        tokens = np.concatenate([np.empty(0, self._type), *(tokens for tokens, _ in self._waiting)])
        words = np.concatenate([np.empty(0, bool), *(words for _, words in self._waiting)])
        for start in range(0, count, _PAGE):
            page = slice(start, min(start + _PAGE, count))
            shard, done = divmod(self._written, SHARD)
            if done == 0:
                self._close_files()
                stem = self._folder / f"{self._split}-{shard:05d}"
                self._open = (HashedFile(stem.with_suffix(".tokens")), HashedFile(stem.with_suffix(".words")))
            assert self._open is not None
            self._open[0].write(tokens[page].tobytes())
            self._open[1].write(np.packbits(words[page]).tobytes())
            self._written += page.stop - page.start
        self._waiting, self._count = [(tokens[count:], words[count:])], len(tokens) - count

    def _close_files(self) -> None:
        if self._open:
            self._files.append((self._open[0].finish(), self._open[1].finish()))
            self._open = None


class Stream:
    """The documents of one split, end to end."""

    def __init__(self, folder: Path, name: str, split: Split, token_type: TokenType) -> None:
        self.name = name
        self.token_count, self.documents, self.bytes = split.token_count, split.documents, split.bytes
        self._type = np.dtype(token_type).newbyteorder("<")
        self._shards = [CheckedFile(folder, file) for file in split.shards]
        self._words = [CheckedFile(folder, file) for file in split.words]
        self._table = split.table and CheckedFile(folder, split.table)

    def __repr__(self) -> str:
        return f"{self.name}: {self.documents:,} documents, {self.token_count:,} tokens"

    @property
    def bytes_a_prediction(self) -> float:
        """Bytes of text for each token that a causal model predicts: all but [CLS]."""
        return self.bytes / (self.token_count - self.documents)

    @cached_property
    def table(self) -> Table | None:
        """Its documents by language, where languages were named.

        Raises:
            DataError: a block that is not what was written.
        """
        return Table.read(self._table.whole()) if self._table else None

    def __len__(self) -> int:
        return self.token_count

    def __getitem__(self, part: slice) -> np.ndarray:
        """Tokens of a slice of it, int32."""
        start, stop, _ = part.indices(len(self))
        return self.read(start, stop)[0]

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [start, stop) as int32, and whether a word begins at each, bool.

        Raises:
            DataError: a block that is not what was written.
        """
        if not 0 <= start <= stop <= self.token_count:
            raise IndexError(f"expected 0 <= start <= stop <= {self.token_count}, got {start} and {stop}")
        tokens, words = [np.empty(0, np.int32)], [np.empty(0, bool)]
        while start < stop:
            shard, first = divmod(start, SHARD)
            last = min(first + stop - start, SHARD)
            width = self._type.itemsize
            raw = self._shards[shard].read(first * width, last * width)
            bits = np.unpackbits(self._words[shard].read(first // 8, -(-last // 8)))
            tokens.append(raw.view(self._type).astype(np.int32))
            words.append(bits[first % 8 :][: last - first].astype(bool))
            start += last - first
        return np.concatenate(tokens), np.concatenate(words)

    @property
    def files(self) -> list[CheckedFile]:
        """All that it is read from."""
        return [*self._shards, *self._words, *([self._table] if self._table else [])]

    def check(self) -> None:
        """Reads every file and compares it with its hash.

        Raises:
            DataError: one that is damaged; it is named.
        """
        for file in self.files:
            file.check()


@dataclass(frozen=True, repr=False)
class Shards:
    """A prepared folder, open for reading."""

    path: Path
    manifest: Manifest
    train: Stream
    validation: Stream

    def __repr__(self) -> str:
        return f"Shards({str(self.path)!r}: {self.train!r}, {self.validation!r})"

    @classmethod
    @checked
    def open(cls, path: str | Path) -> Shards:
        """
        Raises:
            DataError: no shards there, of another version, or a file that is missing or cut.
        """
        path = Path(path)
        manifest = Manifest.load(path / INDEX)
        for file in manifest.tokenizer:
            CheckedFile(path, file).check()
        train, validation = (
            Stream(path, name, split, manifest.token_type)
            for name, split in (("train", manifest.train), ("validation", manifest.validation))
        )
        return cls(path, manifest, train, validation)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the manifest: equal for equal text, options and tokenizer."""
        return self.manifest.fingerprint

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the shards were made with."""
        return Tokenizer.load(self.path / TOKENIZER)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Its size and its special tokens."""
        return self.manifest.vocabulary.as_record()


@checked
def verify(path: str | Path) -> Manifest:
    """Reads every byte of a prepared folder and compares it with the manifest.

    Raises:
        DataError: the first file that is missing, cut or changed, or files that the manifest does not name.
    """
    shards = Shards.open(path)
    shards.train.check()
    shards.validation.check()
    own = {file.path for stream in (shards.train, shards.validation) for file in stream.files}
    own |= {shards.path / file.name for file in shards.manifest.tokenizer}
    there = {file for folder in (shards.path, shards.path / TOKENIZER) for file in folder.iterdir() if file.is_file()}
    if other := sorted(file.relative_to(shards.path).as_posix() for file in there - own if not _beside(file)):
        raise DataError(
            f"{path} holds files that its index does not name: {', '.join(other[:5])}{', ...' * (len(other) > 5)}. "
            "Those that it names are whole. Move the others elsewhere, or delete them."
        )
    return shards.manifest


def _beside(file: Path) -> bool:
    """Whether a file may stand in a folder of shards without being named by its index."""
    return file.name in (INDEX, REQUEST) or file.suffix == ".html" or file.name.startswith(".")
