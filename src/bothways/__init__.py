"""Bothways: compact language models that read left to right, from all sides, and every way in between.

    import bothways

    bothways.prepare(["books/"], out="shards")          # text -> a tokenizer and shards
    bothways.pretrain(config)                           # shards -> a run folder that transformers loads
    model = bothways.load("runs/first")                 # fill, generate, score, embed

The names are looked up when they are first used, so that `import bothways` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bothways.corpus import prepare
    from bothways.inference import load
    from bothways.training.pretraining import pretrain

__version__ = "0.1.0"
__all__ = ["__version__", "load", "prepare", "pretrain"]

_HOMES = {"load": "bothways.inference", "prepare": "bothways.corpus", "pretrain": "bothways.training.pretraining"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bothways' has no attribute {name!r}; it has: {', '.join(sorted(_HOMES))}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
