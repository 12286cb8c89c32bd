"""Files that are whole or not there: hashes, and writing aside and renaming."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bothways.errors import MachineError


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Makes renames inside the folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Writes a text file so that, after a power cut, the old or the new text is there and never half of one."""
    aside = path.with_name(f".{path.name}.partial")
    with open(aside, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Whatever the disk refuses inside is said as a MachineError, with the space that is left.

    Raises:
        MachineError: the disk is full, or the folder may not be written to.
    """
    try:
        yield
    except OSError as error:
        there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
        free = shutil.disk_usage(there).free / 2**20
        raise MachineError(
            f"{folder} cannot be written: {error.strerror} ({free:.0f} MiB free). Make room, or choose another folder."
        ) from error
