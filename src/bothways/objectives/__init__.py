"""Objectives: what is hidden, who sees whom, what are the targets. One short file per family."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, get_args, get_type_hints

from bothways.arguments import checked
from bothways.batch import Vocabulary
from bothways.errors import UsageError, unknown
from bothways.model import Abilities as Abilities
from bothways.objectives.codebert import codebert
from bothways.objectives.corruptions import Linear
from bothways.objectives.corruptions import Rate as Rate
from bothways.objectives.diffusion import block_diffusion, diffusion
from bothways.objectives.directional import causal as causal
from bothways.objectives.directional import elmo, prefix, reversed_
from bothways.objectives.electra import deberta_v3, electra
from bothways.objectives.expression import Phase, Term, parse
from bothways.objectives.hybrid import gpt_bert, hybrid
from bothways.objectives.masked import mlm as mlm
from bothways.objectives.masked import unilm1
from bothways.objectives.mass import mass
from bothways.objectives.mixture import mixture as mixture
from bothways.objectives.mixture import schedule as schedule
from bothways.objectives.objective import About as About
from bothways.objectives.objective import Corpus as Corpus
from bothways.objectives.objective import Corrupted as Corrupted
from bothways.objectives.objective import Objective as Objective
from bothways.objectives.own import guarded
from bothways.objectives.pairs import tlm, xlm
from bothways.objectives.predicting_streams import any_order, bang
from bothways.objectives.seq2seq import seq2seq
from bothways.objectives.unilm2 import unilm2
from bothways.own import use as use


def name_of(function: Callable[..., Objective]) -> str:
    """What it is called in an expression: gpt_bert is gpt-bert, reversed_ is reversed."""
    return function.__name__.rstrip("_").replace("_", "-")


_OURS = (
    *(causal, reversed_, prefix, mlm, unilm1, unilm2, hybrid, gpt_bert, electra, deberta_v3, tlm, xlm, codebert),
    *(diffusion, block_diffusion, elmo, mass, any_order, bang, seq2seq),
)
OBJECTIVES: dict[str, Callable[..., Objective]] = {name_of(function): function for function in _OURS}
"""{name: function of a vocabulary and keyword arguments}; a new objective is a function, named above."""

Make = TypeVar("Make", bound=Callable[..., Objective])


def register(function: Make) -> Make:
    """Adds an objective of one's own: `objective_of_mine` in Python is objective-of-mine in an expression.

    The function takes a vocabulary and keyword arguments with defaults: numbers, `Rate` or names. An argument without
    an annotation takes what its default is.

    Raises:
        UsageError: the name is one of Bothways' own.
    """
    name = name_of(function)
    if name in map(name_of, _OURS):
        raise UsageError(f"the objective {name!r} is one of Bothways' own: give yours another name")
    OBJECTIVES[name] = guarded(function, name)
    return function


KINDS = {int: "a whole number", float: "a number", Linear: "number->number", str: "a name"}

UNSAID: dict[type, Any] = {int: int, float: Rate, str: str}
"""{kind of a default: what an argument without an annotation takes}"""


@checked
def build(expression: str, vocabulary: Vocabulary, *, corpus: Corpus | None = None) -> Objective:
    """The objective that an expression names: "mlm(rate=0.3)", "1/2 causal + 1/2 mlm(words=whole)", "causal -> mlm".

    Those that ask for it are given `corpus`, the text to be trained on; without it they can be looked at.

    Raises:
        UsageError: what cannot be read, an unknown name or argument, or members that cannot share a batch.
    """
    phases = parse(expression)
    count = Counter(term.name for phase in phases for term in phase.terms)
    made = [(_phase(phase, vocabulary, count, corpus), phase) for phase in phases]
    if len(made) == 1:
        return made[0][0]
    return schedule([(objective, float(phase.share)) for objective, phase in made], name=expression.strip())


def _phase(phase: Phase, vocabulary: Vocabulary, count: Counter[str], corpus: Corpus | None) -> Objective:
    """A mixture's members keep their names, unless two of one expression have the same."""
    made = [(_make(term, vocabulary, corpus), term) for term in phase.terms]
    named = [(replace(one, name=term.call) if count[term.name] > 1 else one, term) for one, term in made]
    if len(named) == 1:
        return named[0][0]
    return mixture({objective: float(term.weight) for objective, term in named}, name=str(phase))


def _make(term: Term, vocabulary: Vocabulary, corpus: Corpus | None) -> Objective:
    if term.name not in OBJECTIVES:
        raise unknown("objective", term.name, OBJECTIVES)
    function = OBJECTIVES[term.name]
    kinds, defaults = get_type_hints(function), _defaults(function)
    records: dict[str, Any] = {name: one for name, one in _parameters(function).items() if _is_record(one)}
    for record in records.values():
        kinds |= get_type_hints(type(record))
    given: dict[str, Any] = {"corpus": corpus} if "corpus" in kinds else {}
    for key, value in term.arguments.items():
        if key not in defaults:
            raise unknown(f"argument of {term.name}", key, defaults)
        kind = kinds.get(key, UNSAID.get(type(defaults[key]), object))
        whole = isinstance(value, float) and value.is_integer() and int in (kind, *get_args(kind))
        given[key] = int(value) if whole else value  # type: ignore[arg-type]
        if not isinstance(given[key], kind):
            expected = " or ".join(text for one, text in KINDS.items() if one in (kind, *get_args(kind)))
            raise UsageError(f"{key} of {term.name} takes {expected}, got {value}")
    for name, record in records.items():
        own = {key: given.pop(key) for key in [*given] if key in _fields(record)}
        given[name] = replace(record, **own)
    return function(vocabulary, **given)


def _parameters(function: Callable[..., Objective]) -> dict[str, Any]:
    """{parameter: its default}, vocabulary and corpus left out."""
    parameters = list(inspect.signature(function).parameters.items())[1:]
    return {key: value.default for key, value in parameters if key != "corpus"}


def _defaults(function: Callable[..., Objective]) -> dict[str, Any]:
    """{argument: its default}; the fields of a record are arguments of their own."""
    found: dict[str, Any] = {}
    for key, value in _parameters(function).items():
        found |= _fields(value) if _is_record(value) else {key: value}
    return found


def _is_record(default: Any) -> bool:
    """Whether its fields are arguments; a `Rate` is one number, or two with an arrow."""
    return is_dataclass(default) and not isinstance(default, Rate)


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def describe() -> list[dict[str, Any]]:
    """One record for each objective, ready for JSON: name, summary, paper, needs, pairs, faces, differs, arguments."""
    vocabulary = Vocabulary(size=8, pad=0, unk=1, cls=2, sep=3, mask=4)
    records = []
    for name, function in OBJECTIVES.items():
        about = function(vocabulary).about
        arguments = {
            key: value if value is None or isinstance(value, str | int | float) else str(value)
            for key, value in _defaults(function).items()
        }
        lines = {key: getattr(about, key) for key in ("summary", "paper", "needs", "pairs", "differs")}
        records.append({"name": name, **lines, "faces": list(about.teaches.faces), "arguments": arguments})
    return records
