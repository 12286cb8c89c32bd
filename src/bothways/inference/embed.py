"""One vector a text: of its tokens' states, of the last layer or of every one; and a learned mix of layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from tokenizers.normalizers import Lowercase
from torch import Tensor, nn

from bothways.batch import Reads
from bothways.errors import ModelError
from bothways.inference.engine import Engine
from bothways.model import Abilities, SentenceModules

STEPS: dict[Reads, Callable[[Tensor], Tensor]] = {
    "all sides": torch.zeros_like,
    "left to right": torch.Tensor.clone,
    "right to left": torch.neg,
}
"""{how a text is read: its places' steps, given their positions}."""


def embed(engine: Engine, texts: Sequence[str]) -> np.ndarray:
    """One vector a text, float32 [texts, E]: the mean of the last states of its tokens, specials included.

    In a folder of sentence-transformers, what its modules.json makes of the states: any of its ways of pooling, Dense
    and Normalize, behind its prompt. Read as the objective taught: from all sides where it did, then equal to what
    sentence-transformers gives; in one direction; or in both, whose means stand side by side, E = 2D. A text longer
    than the model reads is read in parts, whose vectors are averaged; sentence-transformers would cut it off.

    Raises:
        ModelError: the objective taught no way of reading a text, or the folder makes something else of it.
    """
    modules = engine.sentence or SentenceModules()
    if modules.other:
        raise ModelError(
            f"{engine.name} is a {modules.other} of sentence-transformers, not a SentenceTransformer: what it makes of "
            "a text is no vector that Bothways computes. Take sentence-transformers for it, or layers() for the "
            "states of its body"
        )
    read = [modules.prompt + text for text in texts]
    if modules.lower:
        read = [Lowercase().normalize_str(text) for text in read]
    vectors = _read(engine, read, modules)[:, 0]
    return np.asarray(engine.finite(modules.finish(torch.from_numpy(vectors))).numpy())


def layers(engine: Engine, texts: Sequence[str]) -> np.ndarray:
    """The mean of the states of every layer: float32 [texts, L + 1, D], the embeddings first, the last state last."""
    return _read(engine, texts, None)


def _read(engine: Engine, texts: Sequence[str], modules: SentenceModules | None) -> np.ndarray:
    reads = reading(engine.abilities)
    if reads is None:
        raise engine.cannot("encoder")
    directions: tuple[Reads, ...] = ("left to right", "right to left") if reads == "both directions" else (reads,)
    found = []
    for number, direction in enumerate(directions):
        watch = partial(_part_done, engine, number, len(directions))
        found.append(_pooled(replace(engine, watch=watch), texts, direction, modules))
    return np.concatenate(found, axis=2)


def _part_done(engine: Engine, part: int, parts: int, share: float) -> None:
    engine.watch((part + share) / parts)


def reading(abilities: Abilities) -> Reads | None:
    """How a plain text is read by a model that was taught so; None: it was taught no way."""
    return next(iter(readings(abilities)), None)


def one_reading(engine: Engine) -> Reads:
    """The best way to read a plain text in one pass.

    Raises:
        ModelError: the model was taught none, or two passes that only together are one.
    """
    reads = reading(engine.abilities)
    if reads is None or reads == "both directions":
        raise engine.cannot("encoder")
    return reads


def readings(abilities: Abilities) -> tuple[Reads, ...]:
    """Every way that a model was taught to read a plain text; the best first."""
    ways: list[Reads] = ["all sides"] if abilities.hidden is not None or "encoder" in abilities.faces else []
    if "decoder" in abilities.faces:
        ways.append("left to right")
    if not ways and abilities.reads is not None:
        ways.append(abilities.reads)
    return tuple(ways)


@torch.inference_mode()
def _pooled(engine: Engine, texts: Sequence[str], reads: Reads, modules: SentenceModules | None) -> np.ndarray:
    """float32 [texts, 1, width], read in one direction; without `modules`, every layer's means [texts, L + 1, D]."""
    published = None if engine.pretrained_here else engine.sentence  # then its tokenizer says what stands around
    closed = published is not None or reads != "left to right"
    rows, text_of = engine.rows(texts, closed=closed, longest=published.length if published else engine.length)
    every, config, made = modules is None, engine.model.config, modules or SentenceModules()
    shape = (len(texts), config.layers + 1 if every else 1, config.width * len(made.pooling))
    sums, counts = np.zeros(shape, dtype=np.float32), np.zeros((len(texts), 1, 1), dtype=np.float32)
    for batch in engine.passes([len(row) for row in rows]):
        tokens, layout = engine.collate([rows[i] for i in batch], face="decoder")
        layout = replace(layout, step=STEPS[reads](layout.position))
        lengths = torch.tensor([len(rows[i]) for i in batch], device=engine.device)
        real = torch.arange(tokens.shape[1], device=engine.device) < lengths[:, None]  # [B, T]
        read = engine.all_states(tokens, layout) if every else [engine.states(tokens, layout)]
        found = [made.pool(states.float().masked_fill(~real[..., None], 0.0), real) for states in read]
        weights = lengths.cpu().numpy()[:, None, None]
        np.add.at(sums, text_of[batch], torch.stack(found, dim=1).cpu().numpy() * weights)
        np.add.at(counts, text_of[batch], weights)
    return sums / counts


class ScalarMix(nn.Module):
    """A mix of all layers: gamma times their mean, weighted by softmax(weights), both learned (ELMo, Peters et al.
    2018, equation 1). At first the plain mean."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(count))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, layers: Tensor) -> Tensor:
        """[..., count, D] -> [..., D]"""
        mixed: Tensor = self.gamma * torch.einsum("...ld,l->...d", layers, self.weights.softmax(0))
        return mixed
