"""A run's folder: config.yaml, manifest.json, metrics.jsonl, checkpoints/, report.html, encoder/, decoder/."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bothways.errors import MachineError, ModelError, UsageError
from bothways.files import write_text
from bothways.pretraining.config import PretrainConfig, dump, load_config, read
from bothways.training.state import checkpoints

KEEP = 2


class RunFolder:
    """Reads and writes the files of one run. On all but the first process nothing is written."""

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self.checkpoints = path / "checkpoints"

    def create(self, config: PretrainConfig) -> None:
        """Makes the folder and proves that it can be written, before anything is computed.

        Raises:
            UsageError: a run is there already.
            MachineError: the folder cannot be written.
        """
        if (self.path / "manifest.json").exists():
            raise UsageError(f"{self.path} holds a run already. Go on with --resume, or choose another --out.")
        if not self.writes:
            return
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            write_text(self.path / "config.yaml", dump(config))
        except OSError as error:
            raise MachineError(f"{self.path} cannot be written: {error.strerror}. Choose another --out.") from None

    def config(self) -> PretrainConfig:
        """The configuration the run was started with.

        Raises:
            ModelError: there is no run here.
        """
        if not (self.path / "config.yaml").is_file():
            raise ModelError(f"{self.path} holds no run to resume: config.yaml is missing. Start one without --resume.")
        return read(PretrainConfig, load_config(self.path / "config.yaml"))

    def manifest(self) -> dict[str, Any]:
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
            write_text(self.path / "manifest.json", json.dumps({**self.manifest(), **changes}, indent=1) + "\n")

    def append(self, line: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl."""
        if self.writes:
            with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last one cut short by a kill is left out."""
        try:
            text = (self.path / "metrics.jsonl").read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def cut(self, step: int) -> None:
        """Forgets the lines of later steps: the resumed run writes them again."""
        if self.writes:
            kept = [json.dumps(line) + "\n" for line in self.lines() if line["step"] <= step]
            write_text(self.path / "metrics.jsonl", "".join(kept))

    def prune(self, keep: set[int]) -> None:
        """Deletes all checkpoints but the last two and those of the steps in `keep`."""
        if not self.writes:
            return
        for checkpoint in checkpoints(self.checkpoints)[:-KEEP]:
            if int(checkpoint.name.split("-")[1]) not in keep:
                shutil.rmtree(checkpoint)

    def replace(self, name: str, fill: Callable[[Path], None]) -> None:
        """Writes a subfolder aside with `fill`, then puts it in the place of the old one."""
        if not self.writes:
            return
        aside = self.path / f".{name}.partial"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        fill(aside)
        shutil.rmtree(self.path / name, ignore_errors=True)
        aside.rename(self.path / name)
