"""What a folder of shards holds: index.json as records, and the fingerprint of the whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from bothways.batch import Vocabulary
from bothways.config import Frozen
from bothways.corpus.hashed_files import File
from bothways.errors import DataError
from bothways.files import write_text
from bothways.reading import parse_json

VERSION = 3
INDEX = "index.json"
REQUEST = "request"
"""In a folder of shards: what it holds, and what was asked for."""

TokenType = Literal["uint16", "uint32"]


class Roles(Frozen):
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
        """A vocabulary as it is written down."""
        roles = {name: getattr(vocabulary, name) for name in cls.model_fields}
        return cls(**roles | {"reserved": tuple(sorted(vocabulary.reserved))})

    def as_record(self) -> Vocabulary:
        """The vocabulary."""
        return Vocabulary(**self.model_dump() | {"reserved": frozenset(self.reserved)})


class Split(Frozen):
    """One stream: its tokens with their specials, and the UTF-8 bytes of its documents after NFC.

    A document that a weight repeats counts as often as it stands here. `unknown` counts [UNK] tokens, `pairs` the
    documents that are pairs; `table` tells documents apart by language, see `corpus/document_index.py`.
    """

    documents: int
    token_count: int
    bytes: int
    unknown: int
    shards: tuple[File, ...]
    words: tuple[File, ...]
    pairs: int = 0
    table: File | None = None

    @property
    def files(self) -> tuple[File, ...]:
        """All that it is kept in."""
        return (*self.shards, *self.words, *([self.table] if self.table else []))

    @property
    def bytes_per_token(self) -> float:
        """Text tokens only: [CLS] and [SEP] stand for no bytes."""
        return self.bytes / max(1, self.token_count - 2 * self.documents - self.pairs)


class SourceCount(Frozen):
    """What became of a source: documents read and how many of them were left out, and why."""

    name: str
    weight: float
    documents: int
    bytes: int
    duplicates: int
    excluded: int
    skipped: int
    unweighted: int
    languages: tuple[str, ...] = ()


class Manifest(Frozen):
    """All of a preparation. No time and no folder is in it, so that equal text gives an equal fingerprint.

    languages  their names, in the order of their numbers; none where no language was named
    """

    version: int
    tokenizer: tuple[File, ...]
    vocabulary: Roles
    token_type: TokenType
    options: dict[str, Any]
    sources: tuple[SourceCount, ...]
    train: Split
    validation: Split
    languages: tuple[str, ...] = ()

    def __repr__(self) -> str:
        documents = f"{self.train.documents:,} documents to train on, {self.validation.documents:,} held out"
        return f"Manifest({documents}; {self.vocabulary.size} tokens; {self.fingerprint[:12]})"

    __str__ = __repr__

    @property
    def holds(self) -> frozenset[str]:
        """What objectives may ask for: "word starts", "languages", "pairs"."""
        found = {"word starts": True, "languages": bool(self.languages), "pairs": self.train.pairs > 0}
        return frozenset(name for name, there in found.items() if there)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Writes the index with its fingerprint."""
        write_text(path, self._text())

    def _text(self) -> str:
        content = {"fingerprint": self.fingerprint, "manifest": self.model_dump(mode="json")}
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"

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
            text = path.read_text(encoding="utf-8")
            content = parse_json(text)
            version, expected = content["manifest"]["version"], content["fingerprint"]
            if version != VERSION:
                raise DataError(f"{path}: expected shards of version {VERSION}, got version {version}. {again}")
            manifest = cls.model_validate(content["manifest"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{path}: expected the index of a folder of shards, got: {str(error).splitlines()[0]}. {again}"
            ) from error
        if expected != manifest.fingerprint:
            raise DataError(
                f"{path}: expected fingerprint {expected}, got {manifest.fingerprint}: it is damaged. {again}"
            )
        if text != manifest._text():
            raise DataError(f"{path} is damaged: it says what was written, and in other letters. {again}")
        return manifest
