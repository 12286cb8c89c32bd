"""A run that goes on from a model: its shape, and its weights under the tokenizer of the shards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bothways.config import read
from bothways.errors import UsageError
from bothways.inference.loading import folder_of
from bothways.model import Model, ModelConfig, local, preset, read_saved, with_word_head
from bothways.model.config import DecoderConfig
from bothways.model.encoder_decoder import init_decoder, init_encoder, with_decoder
from bothways.objectives import Objective
from bothways.text import Tokenizer, old_tokens
from bothways.training.optimiser import default_rate
from bothways.training.pretraining.config import PretrainConfig

GENTLER = 0.2
"""Of the default learning rates: what was learned is to stay. Not searched for."""
TABLES = ("backbone.embeddings.tokens.weight", "words.untied.weight", "words.bias")
"""Weights with a row for every token."""


def with_shape_of_start(config: PretrainConfig, *, vocabulary: int, encoder_decoder: bool = False) -> PretrainConfig:
    """The configuration with the shape of `config.start` in `model`, so that a resumed run does not need that folder.
    `encoder_decoder`: with a decoder beside it, where it has none, of `model.decoder.layers` or as the size says, else
    of as many as it has.

    Learning rates that are not given are `GENTLER` than those of a model that knows nothing yet.

    Raises:
        ModelError: no model there.
        UsageError: another shape was given, or rows that are longer than the model reads.
    """
    assert config.start is not None
    shape = read_saved(folder_of(local(config.start))).model.config
    new = encoder_decoder and shape.decoder is None
    decoder = _decoder_of_size(config, shape, new=new)
    if odd := sorted(config.model.keys() - {"dropout", *(["decoder"] if new else [])}):
        raise UsageError(f"the shape is that of {config.start}: leave out model.{odd[0]}")
    if new:
        if (named := config.model.get("decoder")) is not None:
            decoder = read(DecoderConfig, named, below="model.decoder")
        shape = with_decoder(shape, None if decoder is None else decoder.layers)
    length = config.training.length
    if shape.positions.kind == "learned" and shape.length < length:
        raise UsageError(f"{config.start} reads at most {shape.length} tokens: --set training.length={shape.length}")
    wanted = with_word_head(shape).model_copy(
        update={"vocabulary": vocabulary, "length": max(length, shape.length), **_dropout(config)}
    )
    own = config.training.optimiser
    if own.learning_rate is None:
        own = own.model_copy(update={"learning_rate": default_rate(own.name, width=shape.width) * GENTLER})
    training = config.training.model_copy(update={"optimiser": own})
    return config.model_copy(update={"model": wanted.model_dump(), "training": training})


def _decoder_of_size(config: PretrainConfig, shape: ModelConfig, *, new: bool) -> DecoderConfig | None:
    """The decoder that a size names, where one was given and the decoder is `new`.

    Raises:
        UsageError: it is not that of the model which the run goes on from.
    """
    if "size" not in config.model_fields_set:
        return None
    told = preset(config.size, vocabulary=shape.vocabulary)
    if (told.layers, told.width) != (shape.layers, shape.width) or not (new or told.decoder == shape.decoder):
        own = f"{shape.layers}{f'-{shape.decoder.layers}' if shape.decoder else ''}x{shape.width}"
        raise UsageError(f"the size is that of {config.start}, {own}, and not {config.size}: leave out size")
    return told.decoder


def check_decoder(config: PretrainConfig, objective: Objective) -> None:
    """
    Raises:
        UsageError: a model for the decoder to begin as, and no encoder-decoder that begins with another.
    """
    if config.start_decoder and not objective.encoder_decoder:
        raise UsageError(f"start_decoder is for encoder-decoders, and {objective.name} trains one stack: leave it out")
    if config.start_decoder and not config.start:
        raise UsageError("start_decoder goes with --from MODEL, which the encoder begins as: name that too")


def _dropout(config: PretrainConfig) -> dict[str, Any]:
    return {name: value for name, value in config.model.items() if name == "dropout"}


def start_weights(model: Model, start: str, tokenizer: Tokenizer, *, decoder: str | None = None) -> None:
    """Puts the weights of `start` into `model`; what it has no weights for (a new head) stays as it was drawn. A
    decoder beside it takes those of `decoder`.

    A token that the old tokenizer knows keeps its row, a new one starts at the mean of the rows of its old tokens, and
    one of which nothing is known (a special token that was not there) at the mean of all.
    """
    folder = folder_of(local(start))
    old = Tokenizer.load(folder)
    found = _learned(folder, model, decoder)
    whence = [tokens.tolist() for tokens in old_tokens(tokenizer, old)]
    own = model.state_dict()
    taken = {
        name: _laid_anew(weight, whence, like=own[name], size=old.vocabulary.size) if name in TABLES else weight
        for name, weight in found.items()
        if name in own and (name in TABLES or weight.shape == own[name].shape)
    }
    model.load_state_dict(own | taken)


def _learned(folder: Path, model: Model, decoder: str | None) -> Mapping[str, Tensor]:
    """The weights in a folder, in the names that they have in `model`."""
    saved = read_saved(folder).model
    found: Mapping[str, Tensor] = saved.state_dict()
    if model.decoder is None:
        return found
    wanted = model.config
    found = found if saved.decoder is not None else init_encoder(found, saved.config, wanted)
    if decoder is None:
        return found
    other = read_saved(folder_of(local(decoder))).model
    return {**found, **init_decoder(init_encoder(other.state_dict(), other.config, wanted), other.config, wanted)}


def _laid_anew(table: Tensor, whence: list[list[int]], *, like: Tensor, size: int) -> Tensor:
    """A table [old V, ...] as one for the new tokens [V, ...]."""
    result, mean = torch.empty_like(like), table[:size].mean(0)
    for number in range(len(result)):
        tokens = whence[number] if number < len(whence) else []
        result[number] = table[tokens].mean(0) if tokens else mean
    return result
