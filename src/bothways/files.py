"""Files that are whole or not there: hashes, and writing aside and renaming."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from bothways.errors import BothwaysError, MachineError

Json = TypeVar("Json", dict[str, Any], list[Any])
_NAMES: dict[type, str] = {dict: "object", list: "list"}


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, kind: type[Json], *, error: type[BothwaysError]) -> Json:
    """The JSON object (dict) or list in a file.

    Raises:
        BothwaysError: of the kind that is given: the file does not read, or holds another kind of value.
    """
    expected = f"{path}: expected a JSON {_NAMES[kind]}, got"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as wrong:
        raise error(f"{expected} what does not read: {wrong}") from None
    if not isinstance(value, kind):
        raise error(f"{expected} {type(value).__name__}")
    return value


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
