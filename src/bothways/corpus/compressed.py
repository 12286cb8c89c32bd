"""Opens files that may be packed by gzip or Zstandard, and notices when they were cut."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO

import zstandard

SUFFIXES = (".gz", ".zst")
BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)
"""What reading a broken archive raises."""

_PART = 1 << 17


def open_packed(path: Path) -> io.BufferedReader:
    """The file's content, unpacked by its suffix."""
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))
    if path.suffix == ".zst":
        return io.BufferedReader(_Zstandard(path.open("rb")))
    return path.open("rb")


class _Zstandard(io.RawIOBase):
    """Frames one after another, read to their ends: the library's own reader stops in silence after the first frame,
    and when the file was cut inside one."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._inside = False
        self._ready = b""

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._packed.close()
        super().close()

    def readinto(self, into: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            packed = self._frame.unused_data or self._packed.read(_PART)
            if not packed:
                if self._inside:
                    raise EOFError("the last frame was cut")
                return 0
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._ready = self._frame.decompress(packed)
            self._inside = not self._frame.eof
        count = min(len(into), len(self._ready))
        into[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count
