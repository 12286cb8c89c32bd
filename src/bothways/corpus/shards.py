"""Token shards on disk: written once, hashed by 8 MiB blocks, memory-mapped, checked block by block when first read.

A split is one stream of documents end to end, [CLS] pieces... [SEP] [CLS] ..., cut into files of equal length.
`train-00000.pieces` holds numbers of two or four bytes, little end first; `train-00000.words` one bit for each of
them, set where a word begins.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bothways.batch import Vocabulary
from bothways.corpus.manifest import BLOCK, INDEX, File, Manifest, Split, file_hash
from bothways.errors import DataError
from bothways.text import Tokenizer

SHARD = 1 << 26
"""Pieces in a file."""
_PAGE = 1 << 20  # pieces written at a time; a multiple of 8, so that bits fill whole bytes
TOKENIZER = "tokenizer"


class _HashedFile:
    """A file being written, with the SHA-256 of every block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO = path.open("wb")
        self._blocks: list[str] = []
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, content: bytes) -> None:
        self._stream.write(content)
        start = 0
        while start < len(content):
            room = BLOCK - self._size % BLOCK
            part = content[start : start + room]
            self._hash.update(part)
            self._size += len(part)
            start += room
            if self._size % BLOCK == 0:
                self._blocks.append(self._hash.hexdigest())
                self._hash = hashlib.sha256()

    def close(self) -> File:
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        if self._size % BLOCK:
            self._blocks.append(self._hash.hexdigest())
        return File(name=self._path.name, size=self._size, blocks=tuple(self._blocks))


class SplitWriter:
    """Writes one stream into a folder, page by page."""

    def __init__(self, folder: Path, split: str, piece_type: str) -> None:
        self._folder, self._split, self._type = folder, split, np.dtype(piece_type).newbyteorder("<")
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._count = 0
        self._written = 0
        self._open: tuple[_HashedFile, _HashedFile] | None = None
        self._files: list[tuple[File, File]] = []
        self.documents = self.bytes = self.unknown = 0

    def append(self, pieces: np.ndarray, word_starts: np.ndarray) -> None:
        """Pieces and word starts [N], to stand after what is there."""
        self._waiting.append((pieces.astype(self._type), word_starts))
        self._count += len(pieces)
        if self._count >= _PAGE:
            self._flush(self._count - self._count % _PAGE)

    def close(self) -> Split:
        self._flush(self._count)
        self._close_files()
        return Split(
            documents=self.documents,
            pieces=self._written,
            bytes=self.bytes,
            unknown=self.unknown,
            shards=tuple(pieces for pieces, _ in self._files),
            words=tuple(words for _, words in self._files),
        )

    def _flush(self, count: int) -> None:
        pieces = np.concatenate([np.empty(0, self._type), *(pieces for pieces, _ in self._waiting)])
        words = np.concatenate([np.empty(0, bool), *(words for _, words in self._waiting)])
        for start in range(0, count, _PAGE):
            page = slice(start, min(start + _PAGE, count))
            shard, done = divmod(self._written, SHARD)
            if done == 0:
                self._close_files()
                stem = self._folder / f"{self._split}-{shard:05d}"
                self._open = (_HashedFile(stem.with_suffix(".pieces")), _HashedFile(stem.with_suffix(".words")))
            assert self._open is not None
            self._open[0].write(pieces[page].tobytes())
            self._open[1].write(np.packbits(words[page]).tobytes())
            self._written += page.stop - page.start
        self._waiting, self._count = [(pieces[count:], words[count:])], len(pieces) - count

    def _close_files(self) -> None:
        if self._open:
            self._files.append((self._open[0].close(), self._open[1].close()))
            self._open = None


class _CheckedFile:
    """A memory-mapped file whose blocks are checked when they are first read."""

    def __init__(self, path: Path, file: File) -> None:
        try:
            size = path.stat().st_size
        except OSError as error:
            raise DataError(
                f"{path}: expected a shard file of {file.size} bytes, got: {error.strerror}. {_AGAIN}"
            ) from error
        if size != file.size:
            raise DataError(f"{path}: expected {file.size} bytes, got {size}: it was cut or changed. {_AGAIN}")
        self._path = path
        self._file = file
        self._checked = np.zeros(len(file.blocks), dtype=bool)

    @cached_property
    def _content(self) -> np.ndarray:
        return np.memmap(self._path, dtype=np.uint8, mode="r")

    def read(self, start: int, stop: int) -> np.ndarray:
        """Bytes [start, stop) as uint8, checked."""
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            if not self._checked[block]:
                self._check(block)
        return self._content[start:stop]

    def check(self) -> None:
        for block in range(len(self._checked)):
            self._check(block)

    def _check(self, block: int) -> None:
        start = block * BLOCK
        found = hashlib.sha256(self._content[start : start + BLOCK]).hexdigest()
        said = self._file.blocks[block]
        if found != said:
            place = f"bytes {start} to {min(start + BLOCK, self._file.size)}"
            raise DataError(
                f"{self._path}: expected SHA-256 {said[:12]} over {place}, got {found[:12]}: damaged. {_AGAIN}"
            )
        self._checked[block] = True


_AGAIN = "Run `bothways prepare` again with --overwrite, or bring the file back from a copy."


class Stream:
    """The documents of one split, end to end."""

    def __init__(self, folder: Path, name: str, split: Split, piece_type: str) -> None:
        self.name = name
        self.pieces, self.documents, self.bytes = split.pieces, split.documents, split.bytes
        self._type = np.dtype(piece_type).newbyteorder("<")
        self._shards = [_CheckedFile(folder / file.name, file) for file in split.shards]
        self._words = [_CheckedFile(folder / file.name, file) for file in split.words]

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Pieces [start, stop) as int32, and whether a word begins at each, bool.

        Raises:
            DataError: a block that is not what was written.
        """
        if not 0 <= start <= stop <= self.pieces:
            raise IndexError(f"expected 0 <= start <= stop <= {self.pieces}, got {start} and {stop}")
        pieces, words = [np.empty(0, np.int32)], [np.empty(0, bool)]
        while start < stop:
            shard, first = divmod(start, SHARD)
            last = min(first + stop - start, SHARD)
            width = self._type.itemsize
            raw = self._shards[shard].read(first * width, last * width)
            bits = np.unpackbits(self._words[shard].read(first // 8, -(-last // 8)))
            pieces.append(raw.view(self._type).astype(np.int32))
            words.append(bits[first % 8 :][: last - first].astype(bool))
            start += last - first
        return np.concatenate(pieces), np.concatenate(words)

    def check(self) -> None:
        for file in (*self._shards, *self._words):
            file.check()


@dataclass(frozen=True)
class Shards:
    """A prepared folder, open for reading."""

    path: Path
    manifest: Manifest
    train: Stream
    validation: Stream

    @classmethod
    def open(cls, path: str | Path) -> Shards:
        """
        Raises:
            DataError: no shards there, of another version, or a file that is missing or cut.
        """
        path = Path(path)
        manifest = Manifest.load(path / INDEX)
        _check_tokenizer(path / TOKENIZER / "tokenizer.json", manifest.tokenizer)
        train, validation = (
            Stream(path, name, split, manifest.piece_type)
            for name, split in (("train", manifest.train), ("validation", manifest.validation))
        )
        return cls(path, manifest, train, validation)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the manifest: equal for equal text, options and tokenizer."""
        return self.manifest.fingerprint

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.path / TOKENIZER)

    @property
    def vocabulary(self) -> Vocabulary:
        return self.tokenizer.vocabulary


def verify(path: str | Path) -> Manifest:
    """Reads every byte of a prepared folder and compares it with the manifest.

    Raises:
        DataError: the first file that is missing, cut or changed.
    """
    shards = Shards.open(path)
    shards.train.check()
    shards.validation.check()
    return shards.manifest


def _check_tokenizer(path: Path, said: str) -> None:
    if not path.exists():
        raise DataError(f"{path}: expected the tokenizer of these shards, found none. {_AGAIN}")
    if (found := file_hash(path)) != said:
        raise DataError(f"{path}: expected SHA-256 {said[:12]}, got {found[:12]}: it was changed. {_AGAIN}")
