"""The encoder of an encoder-decoder as a body of its own, in a shape that transformers has classes for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bothways.errors import ModelError
from bothways.model.config import ModelConfig

SEGMENTS = 2
"""Of BERT, which has no less; they add nothing."""


def encoder_shape(config: ModelConfig) -> ModelConfig:
    """BART's encoder is BERT's, but for an epsilon that is a field there, and segments; any other shape, where there is
    no decoder, as it is.

    Raises:
        ModelError: an encoder that transformers has no class for alone.
    """
    if config.decoder is None:
        return config
    if not config.classic:
        raise ModelError(
            "the encoder of this encoder-decoder has norms on both sides of what it adds, and Bothways has no class of "
            "transformers for it alone: fine-tune it to write (--task text2text), or take an encoder of its own"
        )
    return config.model_copy(update={"decoder": None, "segments": SEGMENTS, "scaled_embeddings": False})


def shape_of_heads(config: ModelConfig) -> ModelConfig:
    """The shape whose heads a model has: of an encoder-decoder, which transformers has none for, those of one stack,
    BERT's or EuroBERT's, over its encoder."""
    if config.decoder is None or config.classic:
        return encoder_shape(config)
    return config.model_copy(update={"decoder": None, "norm": config.norm.model_copy(update={"place": "before"})})


def encoder_weights(weights: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Those of `encoder_shape(config)` from those of the whole; the factor of scaled embeddings is in their table."""
    found = {name: weight for name, weight in weights.items() if name.startswith("backbone.")}
    if config.decoder is not None:
        found["backbone.embeddings.segments.weight"] = torch.zeros(SEGMENTS, config.width)
        table = "backbone.embeddings.tokens.weight"
        found[table] = found[table] * (config.width**0.5 if config.scaled_embeddings else 1.0)
    return found
