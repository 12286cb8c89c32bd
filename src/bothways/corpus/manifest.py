"""What a folder of shards holds: index.json as records, and the fingerprint of the whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bothways.batch import Vocabulary
from bothways.errors import DataError

VERSION = 1
INDEX = "index.json"
BLOCK = 8 << 20
"""Bytes under one SHA-256."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class File(_Record):
    """One file of a split: its size in bytes, and the SHA-256 of every 8 MiB."""

    name: str
    size: int
    blocks: tuple[str, ...]


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
    tokenizer: str
    vocabulary: dict[str, int | list[int]]
    piece_type: Literal["uint16", "uint32"]
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
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """
        Raises:
            DataError: missing, broken, or of another version.
        """
        if not path.exists():
            raise DataError(
                f"{path.parent}: expected a folder of shards, found no {path.name}. Run `bothways prepare` first."
            )
        again = "Run `bothways prepare` again."
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = content["manifest"]["version"]
            if version != VERSION:
                raise DataError(f"{path}: expected shards of version {VERSION}, got version {version}. {again}")
            manifest = cls.model_validate(content["manifest"])
            said = content["fingerprint"]
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
            raise DataError(
                f"{path}: expected the index of a folder of shards, got what does not read ({error}). {again}"
            ) from error
        if said != manifest.fingerprint:
            raise DataError(
                f"{path}: expected fingerprint {said[:12]}, got {manifest.fingerprint[:12]}: it was changed. {again}"
            )
        return manifest


def vocabulary_record(vocabulary: Vocabulary) -> dict[str, int | list[int]]:
    """A Vocabulary as JSON."""
    roles: dict[str, int | list[int]] = {
        name: getattr(vocabulary, name) for name in ("size", "pad", "unk", "cls", "sep", "mask")
    }
    return roles | {"reserved": sorted(vocabulary.reserved)}


def file_hash(path: Path) -> str:
    """SHA-256 of a whole file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
