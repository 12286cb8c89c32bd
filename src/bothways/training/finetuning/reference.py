"""The reference of a run by preferences: the model as it was when the run began, which is asked once and kept.

What it says of every answer is kept in the run's folder under the hash of its weights and of the samples that it read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bothways.batch import Sample
from bothways.errors import ModelError
from bothways.inference.likelihoods import log_likelihoods
from bothways.model import Model
from bothways.model.adapters import sharing
from bothways.seals import read_sealed, save_sealed
from bothways.training.processes import Processes

FILE = "reference.safetensors"
"""In a run's folder: the log-likelihood of every answer under the reference, in nats."""


def frozen(model: Model) -> Model:
    """A copy that does not learn; beside an adapter it shares the weights that do not learn either."""
    made = sharing(model, [name for name, weight in model.named_parameters() if weight.requires_grad]).eval()
    made.requires_grad_(False)
    return made


def kept(reference: Model, samples: Sequence[Sample], *, folder: Path, again: bool, team: Processes) -> np.ndarray:
    """float64 [samples]: the log-likelihood of the answer in each under the reference. Asked once, shared out over the
    processes; read `again` when a run goes on.

    Raises:
        ModelError: the model or the records are not those that the run began with, or the file is damaged.
    """
    seal, path = hash_of(reference, samples), folder / FILE
    there = again and path.is_file()
    team.wait()  # all have seen whether it is there
    if there:
        return _read(path, seal)

    def sums(mine: Sequence[Sample]) -> list[float]:
        return [float(one.astype(np.float64).sum()) for one in log_likelihoods(reference, mine)]

    found = np.array(team.shared(samples, sums), dtype=np.float64)
    if team.first:
        save_sealed(path, {"log_likelihoods": found}, of=seal)
    return found


def _read(path: Path, seal: str) -> np.ndarray:
    tensors, told = read_sealed(path)
    if told.get("of") != seal:
        raise ModelError(
            f"{path} was made by another model, or of other records: expected those that the run began with. Put them "
            "back, or begin again with another --out"
        )
    return tensors["log_likelihoods"]


def hash_of(model: Model, samples: Sequence[Sample]) -> str:
    """SHA-256 of a model's weights and of the tokens and targets of samples."""
    found = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    for sample in samples:
        found.update(np.asarray(sample.tokens, dtype=np.int64).tobytes() + b"|")
        found.update(np.asarray(sample.targets[0].at, dtype=np.int64).tobytes() + b"|")
    return found.hexdigest()
