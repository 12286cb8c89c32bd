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
    left to right. A text longer than the model reads is read in parts; sentence-transformers would cut it off.

    Raises:
        ModelError: the objective taught neither.
    """
    all_sides = reader.trained.hidden is not None or "encoder" in reader.trained.faces
    if not all_sides:
        reader.needs("decoder")
    face = "encoder" if all_sides else "decoder"
    rows, text_of = reader.rows(texts, closed=all_sides)
    sums = np.zeros((len(texts), reader.model.config.width), dtype=np.float32)
    counts = np.zeros((len(texts), 1), dtype=np.float32)
    for batch, states in reader.states(rows, face=face):
        lengths = torch.tensor([[len(rows[i])] for i in batch], device=states.device)  # [B, 1]
        real = torch.arange(states.shape[1], device=states.device) < lengths  # [B, T]
        summed = torch.where(real[..., None], states.float(), 0.0).sum(1)
        np.add.at(sums, text_of[batch], summed.cpu().numpy())
        np.add.at(counts, text_of[batch], lengths.cpu().numpy())
    return sums / counts
