"""A run's folder: config.yaml, manifest.json, metrics.jsonl, checkpoints/, report.html, encoder/, decoder/, kept/."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel
from torch import Tensor

from bothways.config import dump, read_file
from bothways.errors import ModelError, UsageError
from bothways.files import delete, finite, sync, write_text, writing
from bothways.reading import read_json_lines
from bothways.seals import check_yaml, sealed_yaml, unsealed, write_sealed
from bothways.training.state import State, checkpoints, load_state, load_weights, save_state, step_of

KEEP = 2
ENDED = ("done", "diverged")
M = TypeVar("M", bound=BaseModel)


class RunFolder:
    """Reads and writes the files of one run. On all but the first process nothing is written."""

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self.checkpoints = path / "checkpoints"
        self.kept = path / "kept"

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
            write_text(self.path / "config.yaml", sealed_yaml(dump(config)))

    def check(self) -> None:
        """
        Raises:
            ModelError: there is no run here, or its configuration is damaged.
        """
        if not (self.path / "config.yaml").is_file():
            raise ModelError(f"{self.path} holds no run to resume: config.yaml is missing. Start one without --resume.")
        check_yaml(self.path / "config.yaml")

    def config(self, kind: type[M]) -> M:
        """The configuration that a run of this kind was started with.

        Raises:
            ModelError: as `check`.
        """
        self.check()
        return read_file(kind, self.path / "config.yaml")

    def check_same(self, config: BaseModel) -> None:
        """
        Raises:
            ModelError: as `check`.
            UsageError: the run was started with other settings, wherever it was then.
        """
        out = dict(config)["out"]
        if self.config(type(config)).model_copy(update={"out": out}) != config:
            raise UsageError(f"{out} was started with other settings: {self.path / 'config.yaml'} has them")

    def manifest(self) -> dict[str, Any]:
        """What is noted of the run; {} where nothing is yet.

        Raises:
            ModelError: manifest.json is damaged.
        """
        path = self.path / "manifest.json"
        return unsealed(path) if path.is_file() else {}

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
        """Adds to the manifest; to the end of a run, what metrics.jsonl holds then."""
        if self.writes:
            if changes.get("status") in ENDED:
                changes["metrics"] = self._metrics()
            write_sealed(self.path / "manifest.json", {**self.manifest(), **changes})

    def save(self, state: State) -> None:
        """Writes a checkpoint, with what metrics.jsonl holds until then; every process calls it, one writes."""
        if self.writes:
            state.notes["metrics"] = self._metrics()
        save_state(state, self.checkpoints, write=self.writes)

    def _metrics(self) -> dict[str, Any]:
        """{"bytes", "sha256"} of metrics.jsonl, on the disk first: a power cut leaves no hash of lost lines."""
        path = self.path / "metrics.jsonl"
        content = path.read_bytes() if path.is_file() else b""
        if content:
            with writing(self.path):
                sync(path)
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    def _checked(self, told: dict[str, Any], where: Path) -> bytes:
        """The part of metrics.jsonl that was there when its hash was noted.

        Raises:
            ModelError: it is not what it was.
        """
        path = self.path / "metrics.jsonl"
        content = path.read_bytes()[: told["bytes"]] if path.is_file() else b""
        if told != {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}:
            raise ModelError(
                f"{path} does not match its hash in {where}: its first {told['bytes']} bytes were damaged or changed. "
                "Bring it back from a copy, or begin again with another --out."
            )
        return content

    def append(self, line: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl; what is not finite is null there, since JSON has no name for it."""
        if self.writes:
            with writing(self.path), open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(finite(line), allow_nan=False) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last one cut short by a kill is left out.

        Raises:
            ModelError: a line that is no JSON; or, once the run has ended, it is not what it was then.
        """
        manifest = self.manifest()
        if manifest.get("status") in ENDED and "metrics" in manifest:
            self._checked(manifest["metrics"], self.path / "manifest.json")
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

    def cut(self, step: int, told: dict[str, Any] | None = None) -> None:
        """Forgets what was written after a step, lines, checkpoints and kept models: the resumed run writes it again. A
        model is tested after its last step.

        Args:
            told: what metrics.jsonl held then, as the step's checkpoint noted it; None: that has not, or there is none.

        Raises:
            ModelError: metrics.jsonl is not what it was then.
        """
        kept = b"" if told is None else self._checked(told, self.checkpoints / f"step-{step}" / "state.json")
        if not self.writes:
            return
        self.note(status="running")
        with writing(self.path):
            if told is None:
                lines = (line for line in self.lines() if line["step"] <= step and line.get("kind") != "test")
                kept = "".join(json.dumps(line) + "\n" for line in lines).encode()
            write_text(self.path / "metrics.jsonl", kept.decode())
            for made in (*checkpoints(self.checkpoints), *checkpoints(self.kept)):
                if step_of(made) > step:
                    delete(made)
            for rest in self.checkpoints.glob(".step-*"):
                shutil.rmtree(rest)

    def best(self, step: int) -> tuple[Path, dict[str, Tensor], dict[str, Any]]:
        """Of the best epoch, which ended with this step: its checkpoint, the weights, where files are written, and its
        line of metrics.

        Raises:
            ModelError: one of them is not there, or damaged.
        """
        found = next((path for path in checkpoints(self.checkpoints) if path.name == f"step-{step}"), None)
        if found is None:
            raise ModelError(f"{self.checkpoints}: the checkpoint of the best epoch, step-{step}, is not there")
        return found, load_weights(found) if self.writes else {}, self.last("validation", step=step)

    def restore(self, state: State) -> None:
        """Puts the last checkpoint back, and forgets what came after it; a run killed before its first starts anew.

        Raises:
            ModelError: the checkpoint is damaged, or as `cut`.
        """
        if found := checkpoints(self.checkpoints):
            load_state(state, found[-1])
        self.cut(state.step if found else -1, state.notes.get("metrics"))

    def prune(self, keep: set[int]) -> None:
        """Deletes all checkpoints but the last two and those of the steps in `keep`."""
        if not self.writes:
            return
        for checkpoint in checkpoints(self.checkpoints)[:-KEEP]:
            if step_of(checkpoint) not in keep:
                delete(checkpoint)
