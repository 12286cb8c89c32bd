"""What a run is at one moment, and how it reaches the disk: safetensors and JSON, hashed, written aside, renamed.

A checkpoint holds full tensors under the parameters' names, whichever way the run was split over processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from bothways import __version__
from bothways.errors import ModelError
from bothways.files import folder_aside, sha256, sync, take_place, write_text
from bothways.reading import parse_json, read_tensors
from bothways.seals import sealed
from bothways.training.weights import Weights, split_like, whole

VERSION = 3
TENSORS = ("weights", "optimisers")


@dataclass
class State:
    """Weights and optimisers, and how far they have come. Nothing random: that is a function of seed and step.

    recent    the losses of the last steps that were learned (`spikes`)
    pieces    that each micro-batch is read in, since it does not fit into memory (`splitting`)
    """

    weights: Weights
    optimisers: list[torch.optim.Optimizer]
    step: int = 0
    tokens: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    spikes: int = 0
    spikes_in_a_row: int = 0
    recent: list[float] = field(default_factory=list)
    pieces: int = 1
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def left_out(self) -> list[str]:
        """What was not learned, in sentences."""
        counts = {"their loss or gradient was not finite": self.skipped, "their loss was a spike": self.spikes}
        return [f"steps that were not learned, since {why}: {count}" for why, count in counts.items() if count]

    @property
    def validated(self) -> bool:
        """Whether the model as it is was validated, or a signal came before."""
        return bool(self.notes.get("validated") == self.step)

    def counters(self) -> dict[str, Any]:
        """What is kept as JSON beside the tensors."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in TENSORS}


def _optimiser_tensors(state: State) -> Iterator[tuple[str, Tensor]]:
    names = {id(weight): name for name, weight in state.weights.master.items()}
    for optimiser in state.optimisers:
        for weight, moments in optimiser.state.items():
            for key, value in moments.items():
                yield f"{names[id(weight)]}#{key}", value


def _copy(tensor: Tensor) -> Tensor:
    """The whole of it as a file can hold it: on the CPU, in a row, and sharing no memory with another."""
    return whole(tensor).cpu().clone(memory_format=torch.contiguous_format)


def _frozen(state: State) -> dict[str, str]:
    """The SHA-256 of every weight that does not learn, by its name: a checkpoint holds none of them."""
    kept = {name: whole(weight).cpu() for name, weight in state.weights.frozen.items()}
    return {name: hashlib.sha256(weight.numpy().tobytes()).hexdigest() for name, weight in kept.items()}


def save_state(state: State, folder: Path, *, write: bool = True) -> Path:
    """Writes the checkpoint `step-N` below `folder`, unless it stands there; every process calls it, one writes.

    The files are read back and compared with their hashes before the rename, so that what stands under the final
    name was whole on the disk at least once.

    Raises:
        MachineError: the disk is full, or may not be written to; older checkpoints are as they were.
    """
    frozen = _frozen(state)
    copy = _copy if write else whole  # a sharded tensor is made whole by all processes together
    weights = {name: copy(weight) for name, weight in state.weights.master.items()}
    moments = {name: copy(moment) for name, moment in _optimiser_tensors(state)}
    target = folder / f"step-{state.step}"
    if not write or target.exists():
        return target
    with folder_aside(target) as aside:
        files = {"weights.safetensors": weights, "optimiser.safetensors": moments}
        hashes = {name: _write(tensors, aside / name) for name, tensors in files.items()}
        record = {"version": VERSION, **state.counters(), "frozen": frozen, "sha256": hashes}
        write_text(aside / "state.json", sealed(record))
        read_record(aside)
        take_place(aside, target)
    return target


def _write(tensors: dict[str, Tensor], path: Path) -> str:
    """The SHA-256 of the file."""
    save_file(tensors, path)
    sync(path)
    return sha256(path)


def checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted((path for path in folder.glob("step-*") if path.name[5:].isdecimal()), key=step_of)


def step_of(checkpoint: Path) -> int:
    """After how many steps it was written."""
    return int(checkpoint.name.removeprefix("step-"))


def read_record(checkpoint: Path) -> dict[str, Any]:
    """The checkpoint's state.json, after every file has been compared with its hash.

    Raises:
        ModelError: a file is missing, truncated, or differs in a single bit; the file is named.
    """
    path = checkpoint / "state.json"
    try:
        text = path.read_bytes().decode()
        record: dict[str, Any] = parse_json(text)
        del record["sha256_of_this"]
        whole = text == sealed(record)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(path, f"cannot be read ({type(error).__name__})") from None
    if not whole:
        raise _broken(path, "does not match its hash")
    if record["version"] != VERSION:
        by = (
            "a later release: update Bothways"
            if record["version"] > VERSION
            else "none: it is older than 0.1.0, the first"
        )
        raise ModelError(
            f"{path}: checkpoint version {record['version']}, this Bothways ({__version__}) reads version {VERSION}. "
            f"The release that reads it is {by}."
        )
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
    return ModelError(f"{path} {why}: it is damaged and is not used. Delete {folder} to go on from the one before.")


def load_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The float32 weights of a checked checkpoint."""
    read_record(checkpoint)
    return _tensors(checkpoint / "weights.safetensors")


def _tensors(path: Path) -> dict[str, Tensor]:
    return read_tensors(path, then=f"delete {path.parent} to go on from the one before.")


@torch.no_grad()
def load_state(state: State, checkpoint: Path) -> None:
    """Puts a checkpoint back into weights, optimisers and counters, bit for bit.

    Raises:
        ModelError: the checkpoint is damaged, belongs to another model, or to other weights that are frozen.
    """
    record = read_record(checkpoint)
    before, now = record.get("frozen", {}), _frozen(state)
    if odd := sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name)):
        raise ModelError(
            f"{checkpoint} was trained beside other frozen weights: {', '.join(odd[:3])}. "
            "Go on with those that the run began with."
        )
    weights = _tensors(checkpoint / "weights.safetensors")
    if weights.keys() != state.weights.master.keys():
        odd = sorted(weights.keys() ^ state.weights.master.keys())[:3]
        raise ModelError(f"{checkpoint} belongs to another model: {', '.join(odd)} in one of them only")
    for name, weight in state.weights.master.items():
        if weight.shape != weights[name].shape:
            expected, got = list(weight.shape), list(weights[name].shape)
            raise ModelError(f"{checkpoint} belongs to another model: {name} has shape {got}, expected {expected}")
        weight.copy_(split_like(weights[name], weight))
    state.weights.sync_model()
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
                    key: split_like(value, weight) if value.dim() else value.to(weight.device)
                    for key, value in held.items()
                }
    for name, value in record.items():
        if name in state.counters():
            setattr(state, name, value)
