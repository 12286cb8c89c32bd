"""Files to numbered lines: unpacked, decoded, and what cannot be read named by its line. All readers begin here.

What is wrong travels as a `ParseFailure` in the place of what it spoils, so that places are counted alike if it is
skipped.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, TypeVar

from bothways.errors import DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".zst": zstd.open}
"""What opens packed files, by suffix."""
LONGEST = 16 << 20
"""Characters in a document at most, so that memory stays bounded."""
_LONGEST_LINE = 16 * LONGEST  # bytes: a document as JSON escapes it, and more
_BLOCK = 1 << 16

Skip = Callable[[Path, int, str], None]
"""Told of what does not parse (file, line or 0, why): raises, or counts it and lets reading go on."""

T = TypeVar("T")


class ParseFailure(NamedTuple):
    """What cannot be read; `text` is a line with half characters in the place of what is none."""

    why: str
    text: str = ""


class BrokenFileError(ValueError):
    """A file that cannot be read on from here: cut, of another encoding, or no text at all."""


def refuse(path: Path, line: int, why: str) -> NoReturn:
    """A Skip that never skips."""
    place = f"{path}, line {line}" if line else f"{path}"
    raise DataError(f"{place}: {why}")


def refuse_unasked(path: Path, line: int, why: str) -> NoReturn:
    """The same, for commands that skip when they are asked to."""
    refuse(path, line, f"{why}. Correct it, or leave out and count what is wrong with --skip-bad.")


def kept(found: Iterable[tuple[int, T | ParseFailure]], path: Path, skip: Skip) -> Iterator[tuple[int, int, T]]:
    """(number from 0, line, what stands there): all of `found` that is not bad; `skip` is told of the rest, of a file
    that cannot be read on as line 0."""
    try:
        for number, (line, one) in enumerate(found):
            if isinstance(one, ParseFailure):
                skip(path, line, one.why)
            else:
                yield number, line, one
    except BrokenFileError as error:
        skip(path, 0, str(error))


def lines(path: Path) -> Iterator[tuple[int, str | ParseFailure]]:
    """(line number from 1, line without its end). Lines end in a line feed, with or without a carriage return; in a
    file without line feeds, as old Macs wrote them, in a carriage return.

    Raises:
        BrokenFileError: cut, of another encoding, or a line without an end.
        DataError: the file is not there, or may not be read.
    """
    try:
        with PACKED.get(path.suffix.lower(), open)(path, "rb") as stream:
            yield from lines_of(stream)
    except (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError) as error:
        raise BrokenFileError(f"expected a whole compressed file, got a broken one ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: expected a file to read, got: {error.strerror or error}") from error


def lines_of(stream: BinaryIO) -> Iterator[tuple[int, str | ParseFailure]]:
    """The same of a stream that is open.

    Raises:
        BrokenFileError: of another encoding, or a line without an end.
    """
    for number, raw in enumerate(_raw_lines(stream), start=1):
        yield number, _decoded(raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw)


def _raw_lines(stream: BinaryIO) -> Iterator[bytes]:
    block = stream.read(_BLOCK)
    _check_encoding(block)
    end = b"\r" if b"\r" in block and b"\n" not in block else b"\n"
    begun: list[bytes] = []
    size = 0
    while block:
        first, *others = block.split(end)
        begun.append(first)
        size += len(first)
        if size > _LONGEST_LINE:
            raise BrokenFileError(f"expected lines, got one of more than {_LONGEST_LINE >> 20} MiB")
        if others:
            yield b"".join(begun)
            yield from others[:-1]
            begun, size = [others[-1]], len(others[-1])
        block = stream.read(_BLOCK)
    if size:
        yield b"".join(begun)


def _check_encoding(head: bytes) -> None:
    """
    Raises:
        BrokenFileError: UTF-16 or UTF-32, by the mark at its beginning; UTF-16 without one, by the zeros in it.
    """
    marks = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
    name = next((name for mark, name in marks.items() if head.startswith(mark)), None)
    if name is None and 4 * head.count(0) > len(head):
        name = "UTF-16LE" if head[1::2].count(0) > head[::2].count(0) else "UTF-16BE"
    if name:
        raise BrokenFileError(f"expected UTF-8, got {name}. Convert it: iconv -f {name} -t UTF-8 OLD > NEW")


def _decoded(raw: bytes) -> str | ParseFailure:
    try:
        if b"\0" not in raw:
            return raw.decode().rstrip("\r")
        why = "expected text, got a NUL character (UTF-16 without a mark? iconv -f UTF-16LE -t UTF-8)"
    except UnicodeDecodeError as error:
        got = f"expected UTF-8, got {raw[error.start : error.start + 1]!r}"
        why = f"{got} (another encoding? iconv -f GB18030 -t UTF-8, of Chinese)"
    return ParseFailure(why, raw.decode(errors="surrogateescape").rstrip("\r"))
