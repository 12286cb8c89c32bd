"""Qwen 2 and 3 (Yang et al. 2024, 2025): Llama's network, with biases of q, k and v, or with normed heads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bothways.model.huggingface.families.llama import LLAMA, write
from bothways.model.huggingface.family import Family


def _qwen(model_type: str, name: str, **more: Any) -> Family:
    return replace(
        LLAMA,
        model_type=model_type,
        only={field: values for field, values in LLAMA.only.items() if field != "sliding_window"}  # if it is used
        | {"use_sliding_window": (False,)},
        write=lambda config: write(config) | {"use_sliding_window": False},
        classes={face: kind.replace("Llama", name) for face, kind in LLAMA.classes.items() if face != "answerer"}
        | {"body": f"{name}Model"},
        **more,
    )


QWEN2 = _qwen(
    "qwen2",
    "Qwen2",
    known="Qwen 2 and 2.5 (dense)",
    parts={"attention": {"bias": "qkv"}},
    silent={**LLAMA.silent, "num_key_value_heads": 32, "use_sliding_window": False},
)
QWEN3 = _qwen(
    "qwen3",
    "Qwen3",
    known="Qwen 3 (dense)",
    parts={"attention": {"head_norm": True}},
    silent={**LLAMA.silent, "num_key_value_heads": 32, "head_dim": 128, "use_sliding_window": False},
    whole_heads=False,
)
