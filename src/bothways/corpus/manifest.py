"""What a folder of shards holds: index.json as records, and the fingerprint of the whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from bothways.batch import Vocabulary
from bothways.corpus.blocks import File
from bothways.errors import DataError
from bothways.files import write_text

VERSION = 1
INDEX = "index.json"

PieceType = Literal["uint16", "uint32"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Roles(_Record):
    """A Vocabulary as JSON."""

    size: int
    pad: int
    unk: int
    cls: int
    sep: int
    mask: int
    reserved: tuple[int, ...]

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Roles:
        return cls(**asdict(vocabulary) | {"reserved": tuple(sorted(vocabulary.reserved))})

    def as_record(self) -> Vocabulary:
        return Vocabulary(**self.model_dump() | {"reserved": frozenset(self.reserved)})


class Split(_Record):
    """One stream: its pieces with their specials, and the UTF-8 bytes of its documents after NFC.

    A document that a weight repeats counts as often as it stands here. `unknown` counts [UNK] pieces.
    """

    documents: int
    pieces: int
    bytes: int
    unknown: int
    shards: tuple[File, ...]
    words: tuple[File, ...]

    @property
    def bytes_per_piece(self) -> float:
        """Text pieces only: [CLS] and [SEP] stand for no bytes."""
        return self.bytes / max(1, self.pieces - 2 * self.documents)


class SourceCount(_Record):
    """What became of a source: documents read and how many of them were left out, and why."""

    name: str
    weight: float
    documents: int
    bytes: int
    duplicates: int
    excluded: int
    skipped: int
    unweighted: int


class Manifest(_Record):
    """All of a preparation. No time and no folder is in it, so that equal text gives an equal fingerprint."""

    version: int
    tokenizer: tuple[File, ...]
    vocabulary: Roles
    piece_type: PieceType
    options: dict[str, Any]
    sources: tuple[SourceCount, ...]
    train: Split
    validation: Split

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def save(self, path: Path) -> None:
        content = {"fingerprint": self.fingerprint, "manifest": self.model_dump(mode="json")}
        write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """
        Raises:
            DataError: missing, broken, or of another version.
        """
        again = "Run `bothways prepare` again, with --overwrite."
        if not path.exists():
            raise DataError(
                f"{path.parent}: expected a folder of shards, found no {path.name}. Run `bothways prepare`."
            )
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version, said = content["manifest"]["version"], content["fingerprint"]
            if version != VERSION:
                raise DataError(f"{path}: expected shards of version {VERSION}, got version {version}. {again}")
            manifest = cls.model_validate(content["manifest"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{path}: expected the index of a folder of shards, got: {str(error).splitlines()[0]}. {again}"
            ) from error
        if said != manifest.fingerprint:
            raise DataError(f"{path}: expected fingerprint {said}, got {manifest.fingerprint}: it is damaged. {again}")
        return manifest
