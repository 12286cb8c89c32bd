"""Files with a SHA-256 for every 8 MiB: hashed as they are written, checked as they are read."""

from __future__ import annotations

import hashlib
import os
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from bothways.config import Frozen
from bothways.errors import DataError

BLOCK = 8 << 20
PIECE = 8 << 10
"""What is read at a time; a divisor of BLOCK."""


class File(Frozen):
    """A file's name, its size in bytes, and the SHA-256 of each of its blocks."""

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
    """A file whose blocks are checked when they are first read, and whose pieces are compared with them ever after.

    Nothing is mapped into memory: a file that is cut while it is open is an error, not a signal, and one that is
    overwritten after its block was checked is found by the checksums of its pieces, a 2,048th of what was read.

    Raises:
        DataError: missing, of another size, or (when read) not what was written.
    """

    def __init__(self, folder: Path, file: File) -> None:
        self.path = folder / file.name
        self._file = file
        self._pieces: list[np.ndarray | None] = [None] * len(file.blocks)  # CRC-32 of each piece of a checked block
        try:
            size = self.path.stat().st_size
        except OSError as error:
            raise self._damaged(f"{file.size} bytes", error.strerror or "nothing") from error
        if size != file.size:
            raise self._damaged(f"{file.size} bytes", f"{size}")

    def read(self, start: int, stop: int) -> np.ndarray:
        """Bytes [start, stop) as uint8."""
        found = np.empty(stop - start, dtype=np.uint8)
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            first, last = max(start, block * BLOCK), min(stop, (block + 1) * BLOCK)
            content = self._checked(block, first - first % PIECE, -(-last // PIECE) * PIECE)
            found[first - start : last - start] = np.frombuffer(content, np.uint8)[first % PIECE :][: last - first]
        return found

    def whole(self) -> np.ndarray:
        """All of it, as uint8."""
        return self.read(0, self._file.size)

    def check(self) -> None:
        """Reads all of it."""
        for block in range(len(self._file.blocks)):
            self._check(block)

    def _checked(self, block: int, begin: int, end: int) -> bytes:
        """The bytes of some pieces of one block."""
        known = self._pieces[block]
        if known is None:
            known = self._pieces[block] = self._check(block)
        content = self._bytes(begin, end)
        for number, own in enumerate(_checksums(content), (begin - block * BLOCK) // PIECE):
            if own != known[number]:
                place = block * BLOCK + number * PIECE
                raise self._damaged(f"what it held when it was first read, over {PIECE} bytes from {place} on", "other")
        return content

    def _check(self, block: int) -> np.ndarray:
        """The checksums of a block's pieces, once it was compared with its hash."""
        start = block * BLOCK
        expected, content = self._file.blocks[block], self._bytes(start, start + BLOCK)
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            stop = min(start + BLOCK, self._file.size)
            raise self._damaged(f"SHA-256 {expected[:12]} over bytes {start} to {stop}", found[:12])
        return np.array(_checksums(content), dtype=np.uint32)

    def _bytes(self, begin: int, end: int) -> bytes:
        """Those of the file; opened anew each time, as a corpus may have more files than a process may hold open."""
        count = min(end, self._file.size) - begin
        try:
            handle = os.open(self.path, os.O_RDONLY)
            try:
                content = os.pread(handle, count, begin)
            finally:
                os.close(handle)
        except OSError as error:
            raise self._damaged(f"{self._file.size} bytes", error.strerror or "nothing") from error
        if len(content) < count:
            raise self._damaged(f"{self._file.size} bytes", f"{begin + len(content)}: it was cut while it was read")
        return content

    def _damaged(self, expected: str, got: str) -> DataError:
        return DataError(
            f"{self.path} is damaged: expected {expected}, got {got}. "
            "Bring the file back from a copy, or run `bothways prepare` again with --overwrite."
        )


def _checksums(content: bytes) -> list[int]:
    """CRC-32 of each piece."""
    view = memoryview(content)
    return [zlib.crc32(view[start : start + PIECE]) for start in range(0, len(content), PIECE)]
