"""A model's logits over a sample, and over a part of it with everything else deleted."""

from __future__ import annotations

import numpy as np
import torch

from bothways.batch import Batch, Sample
from bothways.model import Model, ModelConfig
from bothways.visibility import Visibility, ordered
from tests.objectives.rows import VOCABULARY


def small_model() -> Model:
    """Three layers deep, so that what leaks from place to place shows."""
    config = ModelConfig(vocabulary=VOCABULARY.size, layers=3, width=32, heads=2, inner=64, length=96, init=0.3)
    return Model(config, seed=1).eval()


@torch.no_grad()
def logits_of(model: Model, sample: Sample, *, rule: Visibility = ordered) -> np.ndarray:
    """[S, V]"""
    model.rule = rule
    states = model.states(Batch.stack([sample]))[0]
    return np.asarray(model.logits(states)[: len(sample.tokens)].numpy())


def alone(model: Model, sample: Sample, places: np.ndarray, *, rule: Visibility = ordered) -> np.ndarray:
    """[S, V]: the logits of these places in a row that holds nothing else; not a number elsewhere."""
    part = Sample(sample.tokens[places], sample.layout.map(lambda column: column[places]), ())
    result = np.full((len(sample.tokens), VOCABULARY.size), np.nan, dtype=np.float32)
    result[places] = logits_of(model, part, rule=rule)
    return result
