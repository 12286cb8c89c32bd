"""Files and folders that are whole or not there: written aside, flushed, renamed; and what a disk refuses, said."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError

from bothways.errors import MachineError
from bothways.stopping import shielded

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_TO_DO = {
    errno.ENOSPC: "Make room, or choose another folder",
    errno.EDQUOT: "Your share of the disk is used up: make room, or choose another folder",
    errno.EROFS: "The file system is mounted read-only: choose another folder",
    errno.EACCES: "You may not write there: choose another folder, or change its permissions",
    errno.EPERM: "You may not write there: choose another folder, or change its permissions",
    errno.ENOENT: "It is gone: moved, deleted, or its disk was taken away meanwhile. Bring it back, or choose another",
    errno.ENOTDIR: "A file stands where a folder is expected: choose another folder",
    errno.EEXIST: "A file stands where a folder is expected: choose another folder",
    errno.EFBIG: "A file may not become so large there (ulimit -f says how large): choose another folder",
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.EIO: "The disk fails: the system's log says more. Choose another folder",
}
"""{what a disk refuses: what to do}; whatever is not named here is hardly the disk's."""


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Whatever the disk refuses inside is said as a MachineError: why, what to do, and of a full disk the space left.
    An error about a file elsewhere, which was read, goes on as it is.

    Raises:
        MachineError: the disk is full, read-only or gone, or the folder may not be written to.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        cause = _as_os_error(error)
        if cause is None or _elsewhere(cause, folder):
            raise
        raise MachineError(f"{folder} cannot be written: {refusal(cause, folder)}") from error


def refusal(error: OSError, folder: Path) -> str:
    """Why a disk refused, and what to do, as the end of a message."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free = f" ({shutil.disk_usage(there).free / 2**20:.0f} MiB free)" if error.errno in _FULL else ""
    return f"{error.strerror}{free}. {_TO_DO.get(error.errno or 0, 'Choose another folder')}."


def _as_os_error(error: OSError | SafetensorError) -> OSError | None:
    """safetensors has the system's number in its text alone; None: it is about something else."""
    if isinstance(error, OSError):
        return error
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def _elsewhere(error: OSError, folder: Path) -> bool:
    if not isinstance(error.filename, str | bytes):
        return False
    at, own = Path(os.fsdecode(error.filename)).absolute(), folder.absolute()
    return not (at.is_relative_to(own) or own.is_relative_to(at))


@contextmanager
def whole_file(path: Path, mode: str = "w", **how: Any) -> Iterator[IO[Any]]:
    """A file to write to, UTF-8 or with `mode` "wb" bytes, that has its name only when it is whole and on the disk:
    until then, and whatever goes wrong, what was there stays, and nothing else.

    Raises:
        MachineError: it cannot be written.
    """
    aside = aside_of(path)
    with writing(path.parent):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(aside, mode, encoding=None if "b" in mode else "utf-8", **how) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def finite(value: Any) -> Any:
    """Records and containers as plain values, what is not finite as None: JSON has no name for it."""
    if is_dataclass(value) and not isinstance(value, type):
        return finite(asdict(value))
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_text(path: Path, text: str) -> None:
    """Writes a text file so that, after a power cut, the old or the new text is there and never half of one.

    Raises:
        MachineError: it cannot be written.
    """
    with whole_file(path) as file:
        file.write(text)


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` to write in; what is whole is moved out of it by `take_place`, the rest goes.

    Raises:
        MachineError: it cannot be written.
    """
    aside = aside_of(folder)
    with writing(folder.parent):
        try:
            shutil.rmtree(aside, ignore_errors=True)  # left by one that was killed
            aside.mkdir(parents=True)
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def take_place(new: Path, folder: Path) -> None:
    """Flushes the folder `new` and gives it the name of `folder`, which goes only then. Where the file system can
    exchange two names (Linux's own can), a kill at any moment leaves the old or the new folder under that name.
    """
    for path in sorted(new.rglob("*"), reverse=True):
        sync(path)
    sync(new)
    with shielded():  # where names cannot be exchanged, there would be none between the two renames
        there = folder.exists() or folder.is_symlink()
        old = None if not there else new if _exchanged(new, folder) else _renamed(folder)
        if old is not new:
            new.rename(folder)
        sync(folder.parent)
    if old is not None:
        _remove(old)


def _remove(folder: Path) -> None:
    """Of a link to a folder the link alone."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchanges two names at once; False: neither was touched, since the system or the file system cannot."""
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    return call is not None and not call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)


def delete(folder: Path) -> None:
    """Takes its name away first: what is left by a kill half-way cannot be taken for what it was."""
    _remove(_renamed(folder))


def _renamed(folder: Path) -> Path:
    rest = folder.with_name(f".{folder.name}.gone")
    with suppress(OSError):
        _remove(rest)
    return folder.rename(rest)


def aside_of(path: Path) -> Path:
    """Where a file or folder is written until it is whole."""
    return path.with_name(f".{path.name}.partial")


def sync(path: Path) -> None:
    """Makes a file durable; or the renames inside a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
