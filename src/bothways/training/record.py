"""What a run wrote into its folder, for a page; whatever is not there yet, or is broken, is left out and counted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bothways.corpus.ngrams import NAMES
from bothways.errors import UsageError
from bothways.html.curves import number, part

WITHOUT_TOKENS = frozenset({"discriminator", "rtd", "sentences"})
"""Losses that predict no tokens, and so have no n-gram baselines."""


@dataclass(frozen=True, slots=True)
class Record:
    """A run as written down.

    train, validation   the lines of metrics.jsonl, in order
    manifest            status, versions, data, model, baselines, samples
    config              config.yaml, as text
    unread              lines of metrics.jsonl that are no JSON object (a line that is being written is none yet)
    """

    name: str
    train: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    manifest: dict[str, Any]
    config: str
    unread: int

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Read a run folder.

        Raises:
            UsageError: there is no such folder.
        """
        if not folder.is_dir():
            raise UsageError(f"expected a run folder, got {folder}. Name a folder that bothways pretrain has written.")
        lines = [_object(line) for line in _text(folder / "metrics.jsonl").splitlines() if line.strip()]
        kinds: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
        for line in lines:
            kinds.get(str(line.get("kind")), []).append(line)
        return cls(
            name=folder.resolve().name,
            train=kinds["train"],
            validation=kinds["validation"],
            manifest=_object(_text(folder / "manifest.json")),
            config=_text(folder / "config.yaml"),
            unread=sum(not line for line in lines),
        )

    @property
    def objectives(self) -> list[str]:
        """Names of the losses, those that were validated first."""
        return list(dict.fromkeys(name for line in self.validation + self.train for name in part(line, "losses")))

    @property
    def last(self) -> dict[str, Any]:
        """The line that reaches furthest; empty when there is none."""
        return max(self.train[-1:] + self.validation[-1:], key=lambda line: number(line, "step") or 0, default={})

    def final(self, *keys: str) -> float | None:
        """The last known number of the validation lines under these keys."""
        return latest(number(line, *keys) for line in self.validation)

    def baseline(self, name: str, key: str) -> float | None:
        """One figure of an n-gram model."""
        return number(self.manifest, "baselines", name, key)

    def reads_one_way(self, objective: str) -> bool:
        """Does this loss predict every token from those before it, as the n-grams do? Then it has bits per byte."""
        return self.final("bits_per_byte", objective) is not None

    def counted(self, objective: str) -> tuple[str, ...]:
        """The n-gram models that predict what this loss does."""
        if objective in WITHOUT_TOKENS:
            return ()
        return tuple(NAMES) if self.reads_one_way(objective) else tuple(NAMES[:1])


def latest(values: Iterable[float | None]) -> float | None:
    """The last of the values that is one."""
    return next((value for value in reversed(list(values)) if value is not None), None)


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
