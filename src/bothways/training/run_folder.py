"""A run's folder: config.yaml, manifest.json, metrics.jsonl, checkpoints/, report.html, encoder/, decoder/."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from bothways.config import dump, read_file
from bothways.errors import ModelError, UsageError
from bothways.files import write_text, writing
from bothways.reading import read_json, read_json_lines
from bothways.training.state import checkpoints, step_of

KEEP = 2
M = TypeVar("M", bound=BaseModel)


class RunFolder:
    """Reads and writes the files of one run. On all but the first process nothing is written."""

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self.checkpoints = path / "checkpoints"

    def create(self, config: BaseModel) -> None:
        """Makes the folder and proves that it can be written, before anything is computed.

        Raises:
            UsageError: a run is there already.
            MachineError: the folder cannot be written.
        """
        if (self.path / "manifest.json").exists():
            raise UsageError(f"{self.path} holds a run already. Go on with --resume, or choose another --out.")
        if not self.writes:
            return
        with writing(self.path):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.keep(config)

    def keep(self, config: BaseModel) -> None:
        """Writes config.yaml."""
        if self.writes:
            with writing(self.path):
                write_text(self.path / "config.yaml", dump(config))

    def config(self, kind: type[M]) -> M:
        """The configuration that a run of this kind was started with.

        Raises:
            ModelError: there is no run here.
        """
        if not (self.path / "config.yaml").is_file():
            raise ModelError(f"{self.path} holds no run to resume: config.yaml is missing. Start one without --resume.")
        return read_file(kind, self.path / "config.yaml")

    def manifest(self) -> dict[str, Any]:
        """What is noted of the run; {} where nothing is yet.

        Raises:
            ModelError: manifest.json is damaged.
        """
        path = self.path / "manifest.json"
        return read_json(path, dict, error=ModelError) if path.exists() else {}

    def noted(self, key: str) -> Any:
        """What the manifest says under a key.

        Raises:
            ModelError: nothing.
        """
        found = self.manifest()
        if key not in found:
            raise ModelError(f"{self.path / 'manifest.json'}: expected {key}, got none: the run's folder is damaged")
        return found[key]

    def note(self, **changes: Any) -> None:
        """Adds to the manifest."""
        if self.writes:
            with writing(self.path):
                write_text(self.path / "manifest.json", json.dumps({**self.manifest(), **changes}, indent=1) + "\n")

    def append(self, line: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl; what is not finite is null there, since JSON has no name for it."""
        if self.writes:
            with writing(self.path), open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(_finite(line), allow_nan=False) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last one cut short by a kill is left out.

        Raises:
            ModelError: a line that is no JSON.
        """
        path, found = self.path / "metrics.jsonl", []
        for number, line in enumerate(read_json_lines(path, error=ModelError), start=1):
            if not isinstance(line.get("kind"), str) or type(line.get("step")) is not int:
                raise ModelError(f"{path}, line {number}: expected a kind and a step, got {line!r:.80}: it is damaged")
            found.append(line)
        return found

    def last(self, kind: str | None = None, *, step: int | None = None) -> dict[str, Any]:
        """The last line of metrics.jsonl, of a kind, of a step.

        Raises:
            ModelError: there is none.
        """
        fitting = [line for line in self.lines() if kind in (None, line["kind"]) and step in (None, line["step"])]
        if not fitting:
            wanted = " of ".join([*([kind] if kind else []), *([f"step {step}"] if step is not None else [])])
            raise ModelError(f"{self.path / 'metrics.jsonl'}: expected a line {wanted}, got none: it is damaged")
        return fitting[-1]

    def cut(self, step: int) -> None:
        """Forgets what was written after a step, lines and checkpoints: the resumed run writes it again."""
        if not self.writes:
            return
        with writing(self.path):
            kept = [json.dumps(line) + "\n" for line in self.lines() if line["step"] <= step]
            write_text(self.path / "metrics.jsonl", "".join(kept))
            for checkpoint in checkpoints(self.checkpoints):
                if step_of(checkpoint) > step:
                    _delete(checkpoint)
            for rest in self.checkpoints.glob(".step-*"):
                shutil.rmtree(rest)

    def prune(self, keep: set[int]) -> None:
        """Deletes all checkpoints but the last two and those of the steps in `keep`."""
        if not self.writes:
            return
        for checkpoint in checkpoints(self.checkpoints)[:-KEEP]:
            if step_of(checkpoint) not in keep:
                _delete(checkpoint)


def _delete(checkpoint: Path) -> None:
    """Takes its name away first: what is left by a kill half-way is no checkpoint, and the next resume clears it."""
    rest = checkpoint.with_name(f".{checkpoint.name}.gone")
    shutil.rmtree(rest, ignore_errors=True)
    shutil.rmtree(checkpoint.rename(rest))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
