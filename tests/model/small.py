"""Small models and packed rows that all tests of the model share; weights large enough for differences to show."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bothways.batch import Target
from bothways.model import Model, ModelConfig
from bothways.visibility import Layout


def changed(config: ModelConfig, **changes: Any) -> ModelConfig:
    """The same shape with other fields; a record's own are given as a mapping: norm={"epsilon": 0.1}."""
    return ModelConfig.model_validate(
        {
            name: {**value, **changes.get(name, {})} if isinstance(value, dict) else changes.get(name, value)
            for name, value in config.model_dump().items()
        }
    )


MODERN = ModelConfig(vocabulary=97, layers=3, width=64, heads=2, inner=112, length=64, init=0.2)
CLASSIC = ModelConfig(
    vocabulary=97,
    layers=3,
    width=64,
    heads=2,
    inner=112,
    length=64,
    init=0.2,
    shape="classic",
    segments=2,
    norm={"epsilon": 1e-12},
    word_head="transformed",
)
PROJECTED = CLASSIC.model_copy(update={"embedding_width": 32})
UNPROJECTED = CLASSIC.model_copy(update={"embedding_width": 64})  # an ELECTRA still, as its base and large
SHAPES = {"modern": MODERN, "classic": CLASSIC, "projected": PROJECTED}


def model_of(config: ModelConfig, *, seed: int = 0) -> Model:
    """A model whose norms and biases are random too, so that forgetting one of them shows."""
    model = Model(config, seed=seed).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2:
                parameter.add_(torch.empty_like(parameter).normal_(0.0, 0.3, generator=generator))
    return model


def packed(*rows: list[int], padding: int = 0, causal: bool = False, segments: bool = False) -> Layout:
    """A torch layout [B, T]: each row is documents of so many tokens, then padding up to the longest row."""
    length = max(map(sum, rows)) + padding
    layouts = []
    for lengths in rows:
        document = np.repeat(np.arange(len(lengths)), lengths)
        document = np.concatenate([document, -1 - np.arange(length - len(document))])
        step = np.arange(length) if causal else np.zeros(length)
        segment = (np.arange(length) % 3 == 0).astype(np.int32) if segments else None
        layouts.append(Layout.of(document=document, step=step, segment=segment))
    return Layout.stack(layouts)


def random_tokens(layout: Layout, *, vocabulary: int = 97, seed: int = 0) -> torch.Tensor:
    """[B, T] tokens, none of them special (0 to 4)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(5, vocabulary, tuple(layout.document.shape), generator=generator)


def logits_at(model: Model, name: str, hidden: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """The logits of a head at some places of states [B*T, D]."""
    head = model.head(name)
    places = head.places(at)
    return head.logits(hidden if places is None else hidden[places], Target(name, at, torch.zeros(len(at))))
