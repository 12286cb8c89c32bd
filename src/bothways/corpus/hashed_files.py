"""Files with a SHA-256 for every 8 MiB: hashed as they are written, checked as they are read."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from bothways.errors import DataError

BLOCK = 8 << 20


class File(BaseModel):
    """A file's name, its size in bytes, and the SHA-256 of each of its blocks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    size: int
    blocks: tuple[str, ...]


class HashedFile:
    """A file being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = path.open("wb")
        self._blocks: list[str] = []
        self._begun = bytearray()  # of the block that is not full yet

    def write(self, content: bytes) -> None:
        """Appends."""
        self._stream.write(content)
        self._begun += content
        while len(self._begun) > BLOCK:
            self._blocks += _hashes(self._begun[:BLOCK])
            del self._begun[:BLOCK]

    def finish(self) -> File:
        """Makes it durable and tells what it holds."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        size = self._stream.tell()
        self._stream.close()
        return File(name=self._path.name, size=size, blocks=(*self._blocks, *_hashes(self._begun)))

    def abandon(self) -> None:
        """Closes it as it is, if it is open."""
        with suppress(OSError):  # what is left in its buffer may not fit on the disk
            self._stream.close()


def file_record(path: Path, name: str) -> File:
    """What a file that is there holds, under the name that it is to be known by."""
    content = path.read_bytes()
    return File(name=name, size=len(content), blocks=_hashes(content))


def _hashes(content: bytes | bytearray) -> tuple[str, ...]:
    """Of each block; one of no content, too."""
    starts = range(0, max(1, len(content)), BLOCK)
    return tuple(hashlib.sha256(content[start : start + BLOCK]).hexdigest() for start in starts)


class CheckedFile:
    """A memory-mapped file whose blocks are checked when they are first read.

    Raises:
        DataError: missing, of another size, or (when read) a block that is not what was written.
    """

    def __init__(self, folder: Path, file: File) -> None:
        self._path = folder / file.name
        self._file = file
        self._checked = [False] * len(file.blocks)
        try:
            size = self._path.stat().st_size
        except OSError as error:
            raise self._damaged(f"{file.size} bytes", error.strerror or "nothing") from error
        if size != file.size:
            raise self._damaged(f"{file.size} bytes", f"{size}")

    def read(self, start: int, stop: int) -> np.ndarray:
        """Bytes [start, stop) as uint8."""
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            if not self._checked[block]:
                self._check(block)
        return self._content[start:stop]

    def whole(self) -> np.ndarray:
        """All of it, as uint8."""
        return self.read(0, self._file.size)

    def check(self) -> None:
        """Reads all of it."""
        for block in range(len(self._checked)):
            self._check(block)

    @cached_property
    def _content(self) -> np.ndarray:
        return np.memmap(self._path, dtype=np.uint8, mode="r") if self._file.size else np.empty(0, np.uint8)

    def _check(self, block: int) -> None:
        start = block * BLOCK
        expected = self._file.blocks[block]
        found = hashlib.sha256(self._content[start : start + BLOCK].tobytes()).hexdigest()
        if found != expected:
            stop = min(start + BLOCK, self._file.size)
            raise self._damaged(f"SHA-256 {expected[:12]} over bytes {start} to {stop}", found[:12])
        self._checked[block] = True

    def _damaged(self, expected: str, got: str) -> DataError:
        return DataError(
            f"{self._path} is damaged: expected {expected}, got {got}. "
            "Bring the file back from a copy, or run `bothways prepare` again with --overwrite."
        )
