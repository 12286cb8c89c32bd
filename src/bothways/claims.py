"""Who writes where: of two commands with one output the second is refused, and where nothing can be written is found
before the work.

A claim is a lock of the kernel on a small file in the folder, or beside the file, that is to be written. It ends with
its process, however that ends: what a killed one left is taken over. Who only reads claims nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Literal

from bothways.errors import UsageError
from bothways.files import writing

CLAIM = ".claimed"
"""In a folder that is written to; beside a file it has the file's name before it."""
_KNOWS_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)  # two of them are one on Linux
_held: ContextVar[frozenset[str]] = ContextVar("held", default=frozenset())  # of this thread, for runs within runs


@contextmanager
def claimed(
    out: Path, *, kind: Literal["folder", "file"] = "folder", writes: bool = True, patience: float = 0.0
) -> Iterator[None]:
    """Locks `out` against other processes and threads. Its folder is made, and removed at the end if it is empty. A
    claim within a claim on the same output is part of it.

    On a file system without locks nobody is refused. Without `writes`, on all but the first process, nothing is done;
    `patience` are the seconds that another is given to end.

    Raises:
        UsageError: another process writes there, which is named; or `out` is no folder, or no file.
        MachineError: nothing can be written there.
    """
    if kind == "file" and not out.name:  # . and / have none
        raise UsageError(f"{out}: expected a file to write, got a folder")
    lock = out / CLAIM if kind == "folder" else out.with_name(f".{out.name}{CLAIM}")
    name = os.path.realpath(lock)
    if not writes or name in _held.get():
        yield
        return
    if out.exists() and not (out.is_dir() if kind == "folder" else out.is_file()):
        got = "folder" if out.is_dir() else "file" if out.is_file() else "device"
        raise UsageError(f"{out}: expected a {kind} to write, got a {got}")
    with _made(lock.parent):
        with writing(lock.parent):
            handle = _locked(lock, out, patience)
        token = _held.set(_held.get() | {name})
        try:
            yield
        finally:
            _held.reset(token)
            _leave(handle, lock)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Folders that are made inside go again if nothing came to be in them."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    finally:
        for place in missing:
            with suppress(OSError):  # something is in it
                place.rmdir()


def _locked(lock: Path, out: Path, patience: float) -> int:
    until = time.monotonic() + patience
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle, ours = _opened(lock)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 200).decode(errors="replace") or "another process"
            os.close(handle)
            if time.monotonic() < until:
                time.sleep(0.1)
                continue
            raise UsageError(
                f"{out} is being written by {owner}. Wait until that has ended, or name another place."
            ) from None
        except OSError as error:
            if error.errno not in _KNOWS_NO_LOCKS:
                os.close(handle)
                if not ours and error.errno == errno.EBADF:  # NFS locks only what may be written
                    raise UsageError(
                        f"{out} is another user's, and this file system does not tell whether that command still runs. "
                        f"Once it has ended, delete {lock}; or name another place."
                    ) from None
                raise
        if not _is_still(handle, lock):  # the one before left in this very moment
            os.close(handle)
            continue
        if not ours:
            return handle
        try:
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {platform.node()} since {datetime.now():%F %T}".encode())
        except OSError:
            _leave(handle, lock)
            raise
        return handle


def _opened(lock: Path) -> tuple[int, bool]:
    """A handle that is not handed on to other programs, and whether it can be written to: what another user left in a
    folder of several can be locked, but not be given another name."""
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o644), True
    except PermissionError:
        if not (lock.is_file() and os.access(lock.parent, os.W_OK)):
            raise
        return os.open(lock, os.O_RDONLY), False


def _is_still(handle: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), lock.stat())
    except FileNotFoundError:
        return False


def _leave(handle: int, lock: Path) -> None:
    with suppress(OSError):  # gone with its folder, or the disk has become read-only
        lock.unlink()
    os.close(handle)
