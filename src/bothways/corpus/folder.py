"""The folder that a preparation makes: what it holds already, where work is done, and how it is finished.

Everything is written into `OUT/.preparing` and moved to its place when it is whole, the index last: a preparation that
was killed leaves nothing that could be taken for shards.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bothways.claims import CLAIM, claimed
from bothways.corpus.manifest import INDEX, REQUEST, VERSION, Manifest
from bothways.corpus.options import PrepareOptions
from bothways.corpus.shards import TOKENIZER, Shards
from bothways.corpus.sources import Source
from bothways.errors import MachineError, UsageError
from bothways.files import sync, write_text, writing
from bothways.text.published import tokenizer_file

WORK = ".preparing"


class Folder:
    """One preparation's folder; `request` is the hash of what was asked for, with the size and time of every input."""

    def __init__(self, path: Path, sources: Sequence[Source], options: PrepareOptions) -> None:
        self.path = path
        self._request = _request(sources, options)

    def finished(self, *, overwrite: bool) -> Manifest | None:
        """The manifest, if this very preparation is there already. It reads alone: that may lie where nobody may write.

        Raises:
            UsageError: something else is there, and it is not to be overwritten.
        """
        if not self.path.is_dir():
            return None
        if (self.path / INDEX).exists():
            if overwrite:
                return None
            if self._same(self.path / REQUEST):
                return Shards.open(self.path).manifest
            raise UsageError(
                f"{self.path} holds another preparation (other sources, options, or files changed since). "
                "Name another folder, or replace it with --overwrite."
            )
        if any(file.name != CLAIM for file in self.path.iterdir()) and not (self.path / WORK).exists():
            raise UsageError(f"{self.path}: expected a new or empty folder, got one with other files in it")
        return None

    def tidy(self) -> None:
        """What a stopped attempt to overwrite it left beside a finished preparation goes; not where another works."""
        if (self.path / WORK).exists():
            with suppress(UsageError, MachineError), claimed(self.path):
                shutil.rmtree(self.path / WORK, ignore_errors=True)

    @contextmanager
    def work(self) -> Iterator[Path]:
        """A place to write in: what a stopped preparation of the same request left there is kept, but on a full disk.

        Raises:
            MachineError: read-only, full or gone.
        """
        work = self.path / WORK
        try:
            with writing(self.path):
                if not self._same(work / REQUEST):
                    shutil.rmtree(work, ignore_errors=True)
                    work.mkdir(parents=True)
                    write_text(work / REQUEST, self._request)
                yield work
        except MachineError:  # what was begun would keep the disk full
            shutil.rmtree(work, ignore_errors=True)
            raise

    def finish(self, manifest: Manifest) -> None:
        """Puts everything in its place, the index last; the shards of an older preparation go."""
        work = self.path / WORK
        manifest.save(work / INDEX)
        (self.path / INDEX).unlink(missing_ok=True)
        for old in (old for kind in ("tokens", "words", "documents") for old in self.path.glob(f"*.{kind}")):
            old.unlink()
        shutil.rmtree(self.path / TOKENIZER, ignore_errors=True)
        names = [file.name for split in (manifest.train, manifest.validation) for file in split.files]
        for name in (*names, TOKENIZER, REQUEST, INDEX):
            (work / name).replace(self.path / name)
        sync(self.path)
        shutil.rmtree(work)

    def _same(self, path: Path) -> bool:
        return path.exists() and path.read_bytes() == self._request.encode()


CUTTING = ("tokenizer", "special_tokens", "added_tokens", "vocab", "merges", "config.", "generation_config.")
"""What the names of files begin with that say how a model's folder cuts text into tokens."""


def _request(sources: Sequence[Source], options: PrepareOptions) -> str:
    def state(path: Path) -> tuple[str, int, int]:
        found = path.stat()
        return str(path.resolve()), found.st_size, found.st_mtime_ns

    def asked(source: Source) -> tuple[object, ...]:
        sides = (source.languages, source.fields) if source.languages else ()
        return source.name, source.weight, [state(path) for path in source.files], *sides

    beside, tokenizer = [*options.exclude], options.tokenizer
    if tokenizer and not tokenizer.is_dir():
        beside.append(tokenizer)
    cutting: list[Path] = []
    if tokenizer and tokenizer.is_dir() and (file := tokenizer_file(tokenizer)):
        # Of a run only what says how it cuts text: it may have been trained further since.
        cutting = [one for one in sorted(file.parent.iterdir()) if one.is_file() and one.name.startswith(CUTTING)]
    record: dict[str, Any] = {
        "version": VERSION,
        "python": sys.version,
        "options": options.model_dump(mode="json"),
        "sources": [asked(source) for source in sources],
        "beside": [state(path) for path in beside if path.exists()],
    }
    if cutting:
        record["cutting"] = [(one.name, hashlib.sha256(one.read_bytes()).hexdigest()) for one in cutting]
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
