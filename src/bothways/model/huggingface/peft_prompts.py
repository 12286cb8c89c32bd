"""Soft prompts and prefixes as peft writes them, from ours and back.

Letters: P of a prefix, L layers, G key heads, E head width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bothways.errors import ModelError
from bothways.model.adapters.config import AdapterConfig, PrefixConfig, SoftPromptConfig
from bothways.model.attention import Rotary
from bothways.model.config import ModelConfig

PROMPT, PREFIX = "backbone.embeddings.prompt", "backbone.prefix.embeddings"
"""What they are called here, and in peft's file: """
THEIRS = "prompt_embeddings"


def prompt_to_peft(
    weights: Mapping[str, Tensor], adapter: AdapterConfig, config: ModelConfig
) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """What adapter_config.json says of a soft prompt or a prefix of a decoder, and its tensor; None: it is neither, or
    transformers would place it otherwise (a table of places and a window count a prefix, embeddings are scaled or
    widened)."""
    if config.scaled_embeddings or config.embedding_width:
        return None
    told: dict[str, Any] = {"num_layers": config.layers, "num_transformer_submodules": 1}
    if isinstance(adapter, SoftPromptConfig):
        told |= {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": adapter.tokens}
        return told | {"token_dim": config.width, "num_attention_heads": config.heads}, {THEIRS: weights[PROMPT]}
    if isinstance(adapter, PrefixConfig) and config.positions.kind == "rotary" and not config.attention.window:
        told |= {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": adapter.tokens}
        told |= {"token_dim": config.key_heads * config.head_width, "num_attention_heads": config.key_heads}
        return told, {THEIRS: turned(weights[PREFIX], config)}
    return None


def prompt_from_peft(
    tensors: Mapping[str, Tensor], told: Mapping[str, Any], config: ModelConfig
) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """The other way round.

    Raises:
        ModelError: another kind of adapter, or of another model; or one with more than a prompt before one text.
    """
    kind, found = told.get("peft_type"), tensors.get(THEIRS)
    keys = config.layers * 2 * config.key_heads * config.head_width
    width = {"PROMPT_TUNING": config.width, "PREFIX_TUNING": keys}.get(str(kind))
    if width is None:
        raise ModelError(
            f"adapter_config.json: peft_type is {kind!r}; Bothways reads 'LORA', 'PROMPT_TUNING' and 'PREFIX_TUNING'"
        )
    if kind == "PREFIX_TUNING" and config.attention.window:
        raise ModelError(
            "a prefix before a model that reads in windows: transformers counts it into them, and Bothways does not"
        )
    if found is None or found.dim() != 2 or found.shape[1] != width:
        raise ModelError(f"expected {THEIRS} of width {width}, got {'none' if found is None else list(found.shape)}")
    if odd := sorted(tensors.keys() - {THEIRS}):
        raise ModelError(
            f"the adapter holds {odd[0]} beside {THEIRS}: a head that was trained with a prompt, which Bothways does "
            "not read"
        )
    sides = told.get("num_transformer_submodules")
    if sides != 1 and (sides is not None or config.decoder is not None):
        raise ModelError(
            f"adapter_config.json: num_transformer_submodules is {sides!r}, so that there are rows before a decoder's "
            "text too; Bothways computes 1 alone"
        )
    if kind == "PROMPT_TUNING":
        return SoftPromptConfig(tokens=len(found)), {PROMPT: found}
    if config.positions.kind != "rotary":
        raise ModelError("a prefix of peft's is counted among the places of a model that has a table of them")
    return PrefixConfig(tokens=len(found)), {PREFIX: turned(found, config, back=True)}


def turned(prefix: Tensor, config: ModelConfig, *, back: bool = False) -> Tensor:
    """The keys of a prefix [P, L * 2 * G * E] as peft has them, or `back`: there the tokens stand behind the places of
    the prefix, here they do not, and what a key gives a query depends on how far apart they are turned."""
    found = prefix.unflatten(1, (config.layers, 2, config.key_heads, config.head_width)).clone()
    place, own = torch.full((1, 1), len(prefix)), config.positions
    scaling = own.scaling and own.scaling.model_copy(update={"weight": 1.0})
    for layer in range(config.layers):
        base = own.base if config.window(layer) is None else own.local_base or own.base
        rotary = Rotary(place, head_width=config.head_width, base=base, dtype=found.dtype, scaling=scaling)
        keys = found[:, layer, 0][:, :, None]  # [P, G, 1, E]
        found[:, layer, 0] = rotary.rotate(keys, back=back)[:, :, 0]
    result: Tensor = found.flatten(1)
    return result
