"""A run that goes on from a model: its shape, and its weights under the tokenizer of the shards."""

from __future__ import annotations

import torch
from torch import Tensor

from bothways.errors import UsageError
from bothways.inference.loading import folder_of
from bothways.model import Model, local, read_saved, with_word_head
from bothways.text import Tokenizer, old_tokens
from bothways.training.optimiser import rated
from bothways.training.pretraining.config import PretrainConfig

GENTLER = 0.2
"""Of the default learning rates: what was learned is to stay. Not searched for."""
TABLES = ("backbone.embeddings.tokens.weight", "words.untied.weight", "words.bias")
"""Weights with a row for every token."""


def with_shape_of_start(config: PretrainConfig, *, vocabulary: int) -> PretrainConfig:
    """The configuration with the shape of `config.start` in `model`, so that a resumed run does not need that folder.

    Learning rates that are not given are `GENTLER` than those of a model that knows nothing yet.

    Raises:
        ModelError: no model there.
        UsageError: another shape was given, or rows that are longer than the model reads.
    """
    assert config.start is not None
    if odd := sorted(config.model.keys() - {"dropout"}):
        raise UsageError(f"the shape is that of {config.start}: leave out model.{odd[0]}")
    shape = read_saved(folder_of(local(config.start))).model.config
    length = config.training.length
    if shape.positions.kind == "learned" and shape.length < length:
        raise UsageError(f"{config.start} reads at most {shape.length} tokens: --set training.length={shape.length}")
    wanted = with_word_head(shape).model_copy(
        update={"vocabulary": vocabulary, "length": max(length, shape.length), **config.model}
    )
    rates = rated(config.training.optimiser, width=shape.width)
    assert rates.learning_rate is not None and rates.adam_learning_rate is not None
    own = config.training.optimiser
    gentle = rates.model_copy(
        update={
            "learning_rate": own.learning_rate or rates.learning_rate * GENTLER,
            "adam_learning_rate": own.adam_learning_rate or own.learning_rate or rates.adam_learning_rate * GENTLER,
        }
    )
    training = config.training.model_copy(update={"optimiser": gentle})
    return config.model_copy(update={"model": wanted.model_dump(), "training": training})


def start_weights(model: Model, start: str, tokenizer: Tokenizer) -> None:
    """Puts the weights of `start` into `model`; what it has no weights for (a new head) stays as it was drawn.

    A token that the old tokenizer knows keeps its row, a new one starts at the mean of the rows of its old tokens, and
    one of which nothing is known (a special token that was not there) at the mean of all.
    """
    folder = folder_of(local(start))
    old = Tokenizer.load(folder)
    found = read_saved(folder).model.state_dict()
    whence = [tokens.tolist() for tokens in old_tokens(tokenizer, old)]
    own = model.state_dict()
    taken = {
        name: _laid_anew(weight, whence, like=own[name], size=old.vocabulary.size) if name in TABLES else weight
        for name, weight in found.items()
        if name in own and (name in TABLES or weight.shape == own[name].shape)
    }
    model.load_state_dict(own | taken)


def _laid_anew(table: Tensor, whence: list[list[int]], *, like: Tensor, size: int) -> Tensor:
    """A table [old V, ...] as one for the new tokens [V, ...]."""
    result, mean = torch.empty_like(like), table[:size].mean(0)
    for number in range(len(result)):
        tokens = whence[number] if number < len(whence) else []
        result[number] = table[tokens].mean(0) if tokens else mean
    return result
