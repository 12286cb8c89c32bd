"""What a finished run has written into its folder, for a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bothways.corpus.ngrams import NAMES
from bothways.html.curves import number, part
from bothways.training.run_folder import RunFolder

WITHOUT_TOKENS = frozenset({"discriminator", "rtd", "sentences"})
"""Losses that predict no tokens, and so have no n-gram baselines."""


@dataclass(frozen=True, slots=True)
class Record:
    """A run as written down.

    train, validation   the lines of metrics.jsonl, in order
    manifest            status, versions, data, model, baselines, samples
    config              config.yaml, as text
    """

    name: str
    train: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    manifest: dict[str, Any]
    config: str

    @classmethod
    def read(cls, folder: Path) -> Record:
        """
        Raises:
            ModelError: manifest.json or metrics.jsonl is damaged.
        """
        run = RunFolder(folder)
        lines = run.lines()
        return cls(
            name=folder.resolve().name,
            train=[line for line in lines if line["kind"] == "train"],
            validation=[line for line in lines if line["kind"] == "validation"],
            manifest=run.manifest(),
            config=(folder / "config.yaml").read_text(encoding="utf-8"),
        )

    @property
    def objectives(self) -> list[str]:
        """Names of the losses, those that were validated first."""
        return list(dict.fromkeys(name for line in self.validation + self.train for name in part(line, "losses")))

    def final(self, *keys: str) -> float | None:
        """The number of the last validation under these keys; None where it is not finite, or there is none."""
        return number(self.validation[-1], *keys)

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
