"""SHA256SUMS: the hash of each file that a saved model is read from, written beside them, compared when they are read.

It is the format of `sha256sum --check`, and means the same: what is listed is as it was, and what was laid beside it
since (a chat template) is its owner's. A folder of others has none, and is read as it is; so is one whose owner deleted
it. The model card is not listed: it is there to be edited, and nothing is read from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bothways.errors import ModelError
from bothways.files import sha256, write_text

SUMS = "SHA256SUMS"
LOADED = ("*.json", "*.safetensors", "vocab.txt", "*.jinja")
"""What a model is read from; all else in its folder is not."""
_LINE = re.compile(r"([0-9a-f]{64}) [ *]((?!\.\.)[^/]+(?:/[^/]+)?)")
_LONGEST = 1 << 20  # bytes of a list
_HEAVY = ".safetensors"


def write_sums(*folders: Path) -> None:
    """Writes SHA256SUMS into each folder; a file that stands in several (a hard link) is read once."""
    known: dict[tuple[int, int], str] = {}
    for folder in folders:
        lines = []
        inside = (folder, *(place for place in folder.iterdir() if place.is_dir()))
        for path in sorted({path for place in inside for kind in LOADED for path in place.glob(kind)}):
            status = path.stat()
            key = (status.st_dev, status.st_ino)
            known[key] = known.get(key) or sha256(path)
            lines.append(f"{known[key]}  {path.relative_to(folder).as_posix()}\n")
        write_text(folder / SUMS, "".join(lines))


@contextmanager
def unchanged(folder: Path, *, weights: bool = True) -> Iterator[None]:
    """Compares a folder's files with its SHA256SUMS, if it has one: small files before what is inside reads them, the
    weights on another thread meanwhile. `weights=False` leaves these out.

    Raises:
        ModelError: a file that is damaged or missing; it is named, before what came of it.
    """
    listed = _listed(folder / SUMS)
    if listed is None:
        yield
        return
    heavy = {name: own for name, own in listed.items() if name.endswith(_HEAVY)}
    for name in listed.keys() - heavy.keys():
        _compare(folder, name, listed[name])
    with ThreadPoolExecutor(1) as pool:
        found = [pool.submit(_compare, folder, *one) for one in heavy.items()] if weights else []
        try:
            yield
        finally:
            for one in found:
                one.result()


def write_sum(path: Path) -> None:
    """Writes the hash of a single file beside it."""
    write_text(_beside(path), f"{sha256(path)}  {path.name}\n")


def forget_sum(path: Path) -> None:
    """Before a file is replaced: a kill in between leaves it without a hash, not with a wrong one."""
    _beside(path).unlink(missing_ok=True)


def check_sum(path: Path) -> None:
    """Compares a single file with the hash beside it, if there is one.

    Raises:
        ModelError: they differ.
    """
    listed = _listed(_beside(path))
    if listed is not None and listed != {path.name: sha256(path)}:
        raise _changed(path, f"does not match its SHA-256 in {_beside(path).name}", _beside(path))


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _listed(sums: Path) -> dict[str, str] | None:
    """{file: its hash}; None: there is no such list.

    Raises:
        ModelError: it is damaged.
    """
    if not sums.is_file():
        return None
    with open(sums, encoding="utf-8", errors="replace") as file:
        text = file.read(_LONGEST)
    found = [_LINE.fullmatch(line) for line in text.removesuffix("\n").split("\n")]
    if not text.endswith("\n") or not all(found):
        raise _changed(sums, "is no list of hashes and files", sums)
    return {one[2]: one[1] for one in found if one}


def _compare(folder: Path, name: str, expected: str) -> None:
    try:
        own = sha256(folder / name)
    except OSError as error:
        raise _other(folder, name, f"cannot be read ({error.strerror})") from None
    if own != expected:
        raise _other(folder, name, f"does not match its SHA-256 in {SUMS}")


def _other(folder: Path, name: str, why: str) -> ModelError:
    return _changed(folder / name, why, folder / SUMS)


def _changed(path: Path, why: str, sums: Path) -> ModelError:
    return ModelError(
        f"{path} {why}: it was damaged or changed since the model was saved, and is not used. Bring it back from a "
        f"copy, or save the model again; if the change was wanted, delete {sums}."
    )
