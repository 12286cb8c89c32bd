"""What a fine-tuned model says of texts: logits for examples of any length, in the order they came.

Letters: E examples, N places, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bothways.batch import Batch
from bothways.inference.examples import Encoded, lay
from bothways.model import Answers, Model

TOKENS_AT_ONCE = 2048  # on a CPU


def logits_of(model: Model, examples: Sequence[Encoded], answers: Answers) -> list[np.ndarray]:
    """For each example float32 [N, C]: the logits at its places. Examples of like length are read together."""
    found: list[np.ndarray] = [np.zeros((0, len(answers.labels)), dtype=np.float32)] * len(examples)
    if not examples:
        return found
    device = model.table.device
    tokens = TOKENS_AT_ONCE * (1 if device.type == "cpu" else 16)
    order = np.argsort([-len(example) for example in examples], kind="stable")
    lengths = np.cumsum([len(examples[i]) for i in order])
    for some in np.split(order, np.flatnonzero(np.diff(lengths // tokens)) + 1):
        laid = lay([examples[i] for i in some], answers)
        with torch.inference_mode():
            logits = answered(model, laid.batch.to(device)).float().cpu().numpy()
        for place, number in enumerate(some.tolist()):
            found[number] = logits[laid.owner == place]
    return found


def whole(parts: Sequence[Encoded], logits: Sequence[np.ndarray], *, count: int, labels: int) -> np.ndarray:
    """The logits of all parts of an example, [count, C]; nan where none of them has a place."""
    found = np.full((count, labels), np.nan, dtype=np.float32)
    for part, some in zip(parts, logits, strict=True):
        found[part.of] = some
    return found


def answered(model: Model, batch: Batch) -> Tensor:
    """The logits at the batch's targets, which are all of one head: [N, C]."""
    (target,) = batch.targets
    head: Any = model.heads[target.head]
    at, real = torch.as_tensor(target.at), batch.layout.real.flatten()
    if head.reads_targets_only:
        logits: Tensor = head(model.states_at(batch, at), torch.arange(len(at), device=at.device), real)
    else:
        logits = head(model.states(batch).flatten(0, 1), at, real)
    return logits


def chances(logits: np.ndarray, answers: Answers) -> np.ndarray:
    """Logits [..., C] as probabilities; a number stays what it is."""
    if answers.kind == "number":
        return logits
    if answers.kind == "several":
        return np.asarray(1 / (1 + np.exp(-logits)))
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))
