"""Mistral (Jiang et al. 2023): Llama's network whose blocks may all see a window only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bothways.errors import ModelError
from bothways.model.config import ModelConfig
from bothways.model.huggingface.families.llama import LLAMA

OTHER = ("attention_bias", "mlp_bias", "sliding_window")
"""Fields that mean nothing here, or something else than in Llama."""


def _read(told: Mapping[str, Any]) -> dict[str, Any]:
    """A window holds the token itself."""
    window = told["sliding_window"]
    if window is not None and (not isinstance(window, int) or window < 2):
        raise ModelError(f"config.json: sliding_window: expected a whole number from 2 on, or null, got {window!r}")
    own = {} if window is None else {"attention.window": window - 1, "attention.global_every": 0}
    return {**LLAMA.read(told), **own}


def _write(config: ModelConfig) -> dict[str, Any]:
    window = config.attention.window
    values = {field: value for field, value in LLAMA.write(config).items() if field not in OTHER}
    return values | {"sliding_window": None if window is None else window + 1}


MISTRAL = replace(
    LLAMA,
    model_type="mistral",
    known="Mistral, Zephyr",
    computed={**LLAMA.computed, "attention.window": "sliding_window", "attention.global_every": "sliding_window"},
    silent={**LLAMA.silent, "num_key_value_heads": 8, "sliding_window": 4096},
    only={field: values for field, values in LLAMA.only.items() if field not in OTHER}
    | {"is_causal": (None, True)},  # a window would reach one token further
    read=_read,
    write=_write,
    classes={face: name.replace("Llama", "Mistral") for face, name in LLAMA.classes.items() if face != "answerer"},
    prefix_of_span=None,
)
