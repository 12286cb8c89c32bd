"""Disks that refuse, without the right to mount one: a file may not become larger than a limit of this process."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Limit = Callable[[int], None]


@contextmanager
def limited() -> Iterator[Limit]:
    """A function that limits the size of every file, to so many bytes, until it ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def half_written(place: Path) -> list[str]:
    """What should not be left anywhere below a folder."""
    return [str(path) for path in place.rglob(".*")]
