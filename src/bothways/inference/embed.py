"""One vector a text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bothways.inference.reading import Reader


@torch.inference_mode()
def embed(reader: Reader, texts: Sequence[str]) -> np.ndarray:
    """The mean of the states of a text's pieces, specials included: float32 [texts, D].

    Read from all sides where the model was taught to, and then equal to what sentence-transformers gives; else from
    left to right.

    Raises:
        UsageError: a text longer than the model reads.
        ModelError: the objective taught neither.
    """
    all_sides = reader.trained.hidden is not None or "encoder" in reader.trained.faces
    if not all_sides:
        reader.needs("decoder")
    face = "encoder" if all_sides else "decoder"
    rows = reader.rows(texts, closed=all_sides)
    result = np.zeros((len(rows), reader.model.config.width), dtype=np.float32)
    for batch, states in reader.states(rows, face=face):
        lengths = torch.tensor([[len(rows[i])] for i in batch], device=states.device)  # [B, 1]
        real = torch.arange(states.shape[1], device=states.device) < lengths  # [B, T]
        summed = torch.where(real[..., None], states.float(), 0.0).sum(1)
        result[batch] = (summed / lengths).cpu().numpy()
    return result
