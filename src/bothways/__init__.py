"""Bothways: compact language models that read left to right, from all sides, and every way in between.

    import bothways

    bothways.prepare(["books/"], out="shards")               # text -> a tokenizer and shards
    bothways.pretrain("shards", out="runs/first")            # shards -> a run folder that transformers loads
    model = bothways.load("runs/first")                      # fill, generate, score, embed
    bothways.finetune("runs/first", train="train.csv")       # -> runs/tuned: label, tag, answer, choose

The names are looked up when they are first used, so that `import bothways` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from bothways.corpus import PrepareOptions, prepare
    from bothways.evaluation.babylm import BabyLMConfig, babylm
    from bothways.evaluation.comparison import CompareConfig
    from bothways.evaluation.comparison.compare import compare
    from bothways.evaluation.judging import judge
    from bothways.evaluation.probing import probe
    from bothways.inference import GenerationOptions, LanguageModel, load
    from bothways.inference.best_of import best_of
    from bothways.model import ModelConfig
    from bothways.objectives import Objective
    from bothways.planning.request import PlanConfig, plan
    from bothways.tasks import Task
    from bothways.training.finetuning import FinetuneConfig, finetune
    from bothways.training.finetuning.evaluate import evaluate
    from bothways.training.finetuning.predict import predict
    from bothways.training.pretraining import PretrainConfig, pretrain
    from bothways.training.search import SearchConfig, search

__version__ = "0.1.0"
__all__ = [
    "BabyLMConfig",
    "CompareConfig",
    "FinetuneConfig",
    "GenerationOptions",
    "LanguageModel",
    "ModelConfig",
    "Objective",
    "PlanConfig",
    "PrepareOptions",
    "PretrainConfig",
    "SearchConfig",
    "Task",
    "__version__",
    "babylm",
    "best_of",
    "compare",
    "evaluate",
    "finetune",
    "judge",
    "load",
    "plan",
    "predict",
    "prepare",
    "pretrain",
    "probe",
    "register",
    "search",
]

_HOMES = {
    "bothways.corpus": ("PrepareOptions", "prepare"),
    "bothways.evaluation.babylm": ("BabyLMConfig", "babylm"),
    "bothways.evaluation.comparison": ("CompareConfig", "compare"),
    "bothways.evaluation.judging": ("judge",),
    "bothways.evaluation.probing": ("probe",),
    "bothways.inference": ("GenerationOptions", "LanguageModel", "load"),
    "bothways.inference.best_of": ("best_of",),
    "bothways.model": ("ModelConfig",),
    "bothways.objectives": ("Objective",),
    "bothways.planning": ("PlanConfig", "plan"),
    "bothways.tasks": ("Task",),
    "bothways.training.finetuning": ("FinetuneConfig", "evaluate", "finetune", "predict"),
    "bothways.training.pretraining": ("PretrainConfig", "pretrain"),
    "bothways.training.search": ("SearchConfig", "search"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

Made = TypeVar("Made")


def register(made: Made) -> Made:
    """Adds an objective (a function) or a task (a class) of one's own; a decorator, which gives back what it is given.

    `objective_of_mine` is called objective-of-mine in an expression, a task by its `name`.

    Raises:
        UsageError: it is no such function and no whole task, or the name is one of Bothways' own.
    """
    home = import_module("bothways.tasks" if isinstance(made, type) else "bothways.objectives")
    return home.register(made)  # type: ignore[no-any-return] # what it was given


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bothways' has no attribute {name!r}; it has: {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
