"""What a run is at one moment, and how it reaches the disk: safetensors and JSON, hashed, written aside, renamed.

A checkpoint holds full tensors under the parameters' names, whichever way the run was split over processes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bothways.errors import ModelError
from bothways.files import sha256, sync_folder, write_text
from bothways.training.weights import Weights

VERSION = 1


@dataclass
class State:
    """Weights and optimisers, and how far they have come. Nothing random: that is a function of seed and step."""

    weights: Weights
    optimisers: list[torch.optim.Optimizer]
    step: int = 0
    tokens: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    notes: dict[str, Any] = field(default_factory=dict)

    def counters(self) -> dict[str, Any]:
        names = ("step", "tokens", "skipped", "skipped_in_a_row", "notes")
        return {name: getattr(self, name) for name in names}


def _optimiser_tensors(state: State) -> Iterator[tuple[str, Tensor]]:
    names = {id(weight): name for name, weight in state.weights.master.items()}
    for optimiser in state.optimisers:
        for weight, moments in optimiser.state.items():
            for key, value in moments.items():
                yield f"{names[id(weight)]}#{key}", value


def _full(tensor: Tensor) -> Tensor:
    """The whole of a tensor that FSDP2 may have split (every process must ask)."""
    gather = getattr(tensor, "full_tensor", None)
    whole: Tensor = tensor.detach() if gather is None else gather().detach()
    return whole.cpu().contiguous()


def save_state(state: State, folder: Path, *, write: bool = True) -> Path:
    """Writes checkpoints' `step-N` below `folder`; every process calls it, one writes.

    The files are read back and compared with their hashes before the rename, so that what stands under the final
    name was whole on the disk at least once.
    """
    weights = {name: _full(weight).clone() for name, weight in state.weights.master.items()}
    moments = {name: _full(moment).clone() for name, moment in _optimiser_tensors(state)}
    target = folder / f"step-{state.step}"
    if not write:
        return target
    aside = folder / f".step-{state.step}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    hashes = {}
    for name, tensors in (("weights.safetensors", weights), ("optimiser.safetensors", moments)):
        save_file(tensors, aside / name)
        with open(aside / name, "rb") as file:
            os.fsync(file.fileno())
        hashes[name] = sha256(aside / name)
    record = {"version": VERSION, **state.counters(), "sha256": hashes}
    text = json.dumps(record, indent=1)
    write_text(aside / "state.json", json.dumps({**record, "sha256_of_this": _seal(text)}, indent=1))
    read_record(aside)
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    sync_folder(folder)
    return target


def _seal(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(folder.glob("step-*"), key=lambda path: int(path.name.split("-")[1])) if folder.is_dir() else []


def read_record(checkpoint: Path) -> dict[str, Any]:
    """The checkpoint's state.json, after every file has been compared with its hash.

    Raises:
        ModelError: a file is missing, truncated, or differs in a single bit; the file is named.
    """
    path = checkpoint / "state.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        seal = record.pop("sha256_of_this")
    except (OSError, ValueError, KeyError) as error:
        raise _broken(path, f"cannot be read ({type(error).__name__})") from None
    if seal != _seal(json.dumps(record, indent=1)):
        raise _broken(path, "does not match its hash")
    if record["version"] != VERSION:
        raise ModelError(f"{path}: checkpoint version {record['version']}, this Bothways reads version {VERSION}")
    extra = {file.name for file in checkpoint.iterdir()} - {"state.json", *record["sha256"]}
    if extra:
        raise _broken(checkpoint, f"holds files that do not belong there: {', '.join(sorted(extra))}")
    for name, expected in record["sha256"].items():
        file = checkpoint / name
        if not file.is_file():
            raise _broken(file, "is missing")
        if sha256(file) != expected:
            raise _broken(file, "does not match its SHA-256")
    return record


def _broken(path: Path, why: str) -> ModelError:
    folder = path if path.name.startswith(("step-", ".step-")) else path.parent
    return ModelError(f"{path} {why}: the checkpoint is damaged and is not used. Delete {folder} to go on from the one before.")


def load_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The float32 weights of a checked checkpoint."""
    read_record(checkpoint)
    return _tensors(checkpoint / "weights.safetensors")


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise _broken(path, f"cannot be read ({error})") from None


@torch.no_grad()
def load_state(state: State, checkpoint: Path) -> None:
    """Puts a checkpoint back into weights, optimisers and counters, bit for bit.

    Raises:
        ModelError: the checkpoint is damaged, or belongs to another model.
    """
    record = read_record(checkpoint)
    weights = _tensors(checkpoint / "weights.safetensors")
    if weights.keys() != state.weights.master.keys():
        odd = sorted(weights.keys() ^ state.weights.master.keys())[:3]
        raise ModelError(f"{checkpoint} belongs to another model: {', '.join(odd)} in one of them only")
    for name, weight in state.weights.master.items():
        if weight.shape != weights[name].shape:
            raise ModelError(f"{checkpoint}: {name} has shape {list(weights[name].shape)}, expected {list(weight.shape)}")
        weight.copy_(_like(weights[name], weight))
    state.weights.publish()
    moments: dict[str, dict[str, Tensor]] = {}
    for name, value in _tensors(checkpoint / "optimiser.safetensors").items():
        weight_name, key = name.split("#")
        moments.setdefault(weight_name, {})[key] = value
    names = {id(weight): name for name, weight in state.weights.master.items()}
    for optimiser in state.optimisers:
        for group in optimiser.param_groups:
            for weight in group["params"]:
                held = moments.get(names[id(weight)], {})
                optimiser.state[weight] = {
                    key: value if value.dim() == 0 else _like(value, weight) for key, value in held.items()
                }
    for name, value in record.items():
        if name in state.counters():
            setattr(state, name, value)


def _like(value: Tensor, weight: Tensor) -> Tensor:
    """A full tensor, split the way `weight` is."""
    mesh = getattr(weight, "device_mesh", None)
    if mesh is None:
        return value.to(weight.device)
    from torch.distributed.tensor import distribute_tensor

    split: Tensor = distribute_tensor(value.to(weight.device), mesh, weight.placements)  # type: ignore[attr-defined]
    return split
