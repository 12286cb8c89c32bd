"""A run's folder: config.yaml, manifest.json, metrics.jsonl, checkpoints/, report.html, encoder/, decoder/."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from bothways.config import dump, load_config, read
from bothways.errors import ModelError, UsageError
from bothways.files import write_text, writing
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
        return read(kind, load_config(self.path / "config.yaml"))

    def manifest(self) -> dict[str, Any]:
        """What is noted of the run; {} where nothing is yet.

        Raises:
            ModelError: manifest.json is damaged.
        """
        try:
            found: dict[str, Any] = json.loads((self.path / "manifest.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            raise ModelError(f"{self.path / 'manifest.json'} is no JSON: the run's folder is damaged") from None
        return found

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
        path = self.path / "metrics.jsonl"
        try:
            text = path.read_text(encoding="utf-8")
            return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise ModelError(f"{path} is damaged: a line is no JSON ({error})") from None

    def cut(self, step: int, *, validated: bool = True) -> None:
        """Forgets what was written after a step, lines and checkpoints: the resumed run writes it again. Where its
        checkpoint is from before its validation, that is done again too."""
        if not self.writes:
            return
        with writing(self.path):
            kept = [line for line in self.lines() if line["step"] <= step]
            if not validated:
                kept = [line for line in kept if line["step"] < step or line["kind"] == "train"]
            write_text(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))
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
