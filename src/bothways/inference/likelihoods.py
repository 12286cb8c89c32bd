"""How likely texts are whose tokens are given: what losses of preferences and their references are made of.

Letters: N tokens that are predicted, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bothways.batch import Batch, Sample, Target
from bothways.model import Model
from bothways.model.abilities import WORDS
from bothways.tasks.packing import packed_alike


def words_of(batch: Batch) -> Target:
    """The words that a batch predicts."""
    (found,) = [target for target in batch.targets if target.head == WORDS]
    return found


def likelihoods_in(model: Model, batch: Batch, extra: dict[str, Tensor] | None = None) -> Tensor:
    """The log-likelihood of every word that a batch predicts, [N], in nats, with gradients where they are kept; losses
    of the blocks' own are added to `extra`."""
    words = words_of(batch)
    (hidden,) = model.hidden_at(replace(batch, targets=(words,)), extra)
    return model.words.log_likelihoods(hidden, model.table, torch.as_tensor(words.labels))


@torch.inference_mode()
def log_likelihoods(model: Model, samples: Sequence[Sample]) -> list[np.ndarray]:
    """Of each sample, those of the words that it predicts, float32 [N], in nats, as the model is; those of like length
    are read together."""
    found: list[np.ndarray] = [np.zeros(0, dtype=np.float32)] * len(samples)
    for some, packed in packed_alike(samples, model.table.device):
        each = likelihoods_in(model, packed.batch).float().cpu().numpy()
        begin, words = 0, words_of(packed.batch)
        for number, _, count in packed.places[words.head, words.name]:
            found[some[number]] = each[begin : begin + count]
            begin += count
    return found
