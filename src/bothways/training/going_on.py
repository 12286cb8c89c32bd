"""A folder of several runs (a comparison, a search) that the same command goes on in: its settings and its text are
what they were, and what was found once is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from bothways.config import dump, read_file
from bothways.corpus import Shards
from bothways.errors import DataError, ModelError, UsageError
from bothways.files import write_text
from bothways.seals import check_yaml, sealed_yaml, unsealed, write_sealed

CONFIG = "config.yaml"
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


def go_on_in(out: Path, config: BaseModel, shards: Shards, *, kind: str, may_change: Collection[str]) -> None:
    """Makes the folder, or goes on in it.

    Args:
        kind: what it holds: "comparison".
        may_change: settings that may be others than they were.

    Raises:
        UsageError: it holds another one; what differs is named.
        DataError: it holds one on another text.
        ModelError: its settings are damaged.
    """
    check_settings(out, config, kind=kind, may_change=may_change)
    write_text(out / CONFIG, sealed_yaml(dump(config)))
    if once(out / "text.json", str, lambda: shards.fingerprint) != shards.fingerprint:
        raise DataError(f"{out} holds a {kind} on another text than {shards.path}. Name its shards, or another --out.")


def check_settings(out: Path, config: BaseModel, *, kind: str, may_change: Collection[str]) -> None:
    """
    Raises:
        UsageError: the folder holds settings, and they are others; what differs is named.
        ModelError: they are damaged.
    """
    if not (out / CONFIG).exists():
        return
    old, new = (one.model_dump(mode="json", exclude={*may_change}) for one in (settings_in(out, type(config)), config))
    for key in new:
        if old[key] != new[key]:
            raise UsageError(
                f"{out} holds a {kind} with {key} {old[key]!r}, now it is {new[key]!r}: runs of both cannot be "
                "compared. Leave it as it was, or choose another --out."
            )


def settings_in(out: Path, kind: type[M]) -> M:
    """The settings that such a folder holds.

    Raises:
        ModelError: the file is damaged.
    """
    check_yaml(out / CONFIG)
    return read_file(kind, out / CONFIG)


def once(place: Path, kind: type[T], make: Callable[[], T]) -> T:
    """What the file holds, or what `make` gives, kept in it.

    Raises:
        ModelError: the file is damaged, or holds something else.
    """
    if not place.exists():
        write_sealed(place, {"kept": make()})
    found = unsealed(place).get("kept")
    if not isinstance(found, kind):
        raise ModelError(f"{place} holds something else than what is kept there: begin again with another --out")
    return found
