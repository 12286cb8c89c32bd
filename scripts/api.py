"""Write docs/api.md, the page of the Python API, from signatures and docstrings.

    python scripts/api.py

A test compares the page with what is made here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import bothways
from bothways import errors
from bothways.evaluation.babylm.curve import WordBudget
from bothways.evaluation.comparison.results import Comparison
from bothways.evaluation.judging.answers import JudgedAnswer
from bothways.evaluation.judging.judgement import Judgement, JudgeScore
from bothways.evaluation.judging.verdicts import JudgeBias, Wins
from bothways.evaluation.probing import Difference, Probed, ProbeScore
from bothways.inference import Generation, Guess, Verdict
from bothways.inference.language_model import Batching
from bothways.model.config import AttentionConfig, FeedForwardConfig, NormConfig, PositionConfig, RotaryScaling
from bothways.planning import Advice, Plan
from bothways.tasks.answer import Span
from bothways.tasks.choose import Choice
from bothways.tasks.classify import Number
from bothways.tasks.intent import Intended
from bothways.tasks.predictions import Label
from bothways.tasks.records import refuse
from bothways.tasks.tag import Tagged
from bothways.text import Tokenizer
from bothways.training.config import Budget, OptimiserConfig, ScheduleConfig, TrainingConfig
from bothways.training.finetuning.evaluate import Evaluation
from bothways.training.finetuning.predict import Asking, Predictions
from bothways.training.search.run import SearchResult

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
INSIDE = (
    *(TrainingConfig, Budget, OptimiserConfig, ScheduleConfig),
    *(PositionConfig, RotaryScaling, NormConfig, FeedForwardConfig, AttentionConfig),
)
RESULTS = (
    *(Generation, Guess, Verdict, Label, Number, Tagged, Intended, Span, Choice),
    *(Predictions, Evaluation, Comparison, SearchResult, WordBudget, Probed, ProbeScore, Difference, Plan, Advice),
    *(Judgement, JudgeScore, Wins, JudgeBias, JudgedAnswer),
)
RECORD_OF = {
    "prepare": bothways.PrepareOptions,
    "pretrain": bothways.PretrainConfig,
    "finetune": bothways.FinetuneConfig,
    "compare": bothways.CompareConfig,
    "search": bothways.SearchConfig,
    "babylm": bothways.BabyLMConfig,
    "plan": bothways.PlanConfig,
}


def page() -> str:
    """The whole page."""
    public = [getattr(bothways, name) for name in bothways.__all__ if name != "__version__"]
    functions = [one for one in public if not isinstance(one, type)]
    records = [one for one in public if isinstance(one, type) and issubclass(one, BaseModel)]
    others = [one for one in public if isinstance(one, type) and one not in records]
    parts = [
        "# The Python API",
        (
            "Every public name, from the docstrings; [python.md](python.md) shows how they are used. Made by "
            "`python scripts/api.py`: what is to be changed here is changed in the code."
        ),
        "## Functions",
        *(part for one in functions for part in function(one)),
        *described(Asking),
        "## The model",
        *methods(bothways.LanguageModel),
        *described(Batching),
        *methods(Tokenizer),
        "## Configuration",
        (
            "Each is a record that does not change; its fields are also the keywords of its function, and the settings "
            "of the command of that name."
        ),
        *(part for one in (*records, *INSIDE) for part in record(one)),
        *(part for one in others if one is bothways.GenerationOptions for part in described(one)),
        "## What is given back",
        *(part for one in RESULTS for part in described(one)),
        "## To build on",
        *(part for one in (bothways.Objective, bothways.Task) for part in methods(one)),
        "## Errors",
        *(part for one in vars(errors).values() if isinstance(one, type) for part in described(one)),
    ]
    return "\n\n".join(parts) + "\n"


def function(one: Callable[..., Any]) -> Iterator[str]:
    """A function with its own arguments."""
    yield f"### {one.__name__}"
    yield block(f"bothways.{one.__name__}{arguments(one)}", one)
    if kind := RECORD_OF.get(one.__name__):
        yield f"The record, or its fields as keywords: [{kind.__name__}](#{kind.__name__.lower()})."


def methods(kind: type) -> Iterator[str]:
    """A class and what can be asked of it."""
    yield f"### {kind.__name__}"
    yield block("", kind)
    for name, member in vars(kind).items():
        if name.startswith("_") or not inspect.getdoc(member):
            continue
        if isinstance(member, classmethod):
            yield block(f"{kind.__name__}.{name}{arguments(member.__func__)}", member)
        elif callable(member):
            yield block(f".{name}{arguments(member)}", member)
        elif isinstance(member, property):
            yield block(f".{name}", member)


def record(kind: type[BaseModel]) -> Iterator[str]:
    """A record and its fields."""
    yield f"### {kind.__name__}"
    yield block("", kind)
    rows = ["| field | default | |", "|---|---|---|"]
    for name, field in kind.model_fields.items():
        default = "" if field.is_required() else f"`{shown(field.default)}`"
        rows.append(f"| `{name}` | {default} | {(field.description or '').replace('|', chr(92) + '|')} |")
    yield "\n".join(rows)


def described(kind: type) -> Iterator[str]:
    """A class with its fields, and what it has beside them."""
    yield f"### {kind.__name__}"
    call = arguments(kind) if is_dataclass(kind) else ""
    yield block(f"{kind.__name__}{call}" if call else "", kind)
    own = {name: member for name, member in vars(kind).items() if name in ("to_pandas", "as_json")}
    for name, member in own.items():
        yield block(f".{name}()", member)


def arguments(of: Callable[..., Any]) -> str:
    """(model, *, device=None): without types, and without `self`."""
    inner = of.__dict__.get("__wrapped__", of) if "__signature__" in of.__dict__ else of  # the record, not its fields
    signature = inspect.signature(inner)
    kept = []
    for name, parameter in signature.parameters.items():
        if name in ("self", "cls"):
            continue
        if name == "batching":
            options = {"batch_size": None, "progress": False}
            kept += [inspect.Parameter(one, inspect.Parameter.KEYWORD_ONLY, default=options[one]) for one in options]
            continue
        if name == "asking":
            options = {"task": None, "columns": None, "skip": refuse, "device": None, "show": refuse}
            kept += [
                inspect.Parameter(one, inspect.Parameter.KEYWORD_ONLY, default=Default(value))
                for one, value in options.items()
            ]
            continue
        bare = parameter.replace(annotation=inspect.Parameter.empty)
        kept.append(bare if bare.default is bare.empty else bare.replace(default=Default(bare.default)))
    return str(signature.replace(parameters=kept, return_annotation=inspect.Signature.empty))


class Default:
    """A default as the page writes it."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "..." if callable(self.value) and not isinstance(self.value, type) else shown(self.value)


def shown(value: object) -> str:
    """A default in a line: of a record, its name and what differs."""
    if isinstance(value, BaseModel):
        given = ", ".join(f"{name}={getattr(value, name)!r}" for name in sorted(value.model_fields_set))
        return f"{type(value).__name__}({given})"
    if isinstance(value, Path):
        return repr(str(value))
    return " ".join(repr(value).split())


def block(head: str, of: object) -> str:
    """What it is called, and below it what it says of itself."""
    says = inspect.getdoc(of) or ""
    lines = [head, *(f"    {line}".rstrip() for line in says.splitlines())] if head else says.splitlines()
    return "\n".join(["```text", *lines, "```"])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
