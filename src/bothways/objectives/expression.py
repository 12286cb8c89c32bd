"""Objectives as they are written: "1/2 causal + 1/2 mlm(rate=0.3, words=whole)", "causal -> mlm".

expression = phase {"->" phase}
phase      = term | mixture | [weight ["*"]] "(" mixture ")"
mixture    = term {"+" term}
term       = [weight ["*"]] call
weight     = number

`call` and `number` are those of `bothways.calls`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from bothways.calls import NAME, NUMBER, Value, read_arguments, read_number
from bothways.errors import UsageError

_TERM = re.compile(rf"\s*(?:(?P<weight>{NUMBER})\s*\*?\s*)?(?P<name>{NAME})\s*(?:\((?P<inside>[^()]*)\)\s*)?")
_GROUP = re.compile(rf"\s*(?:(?P<weight>{NUMBER})\s*\*?\s*)?\((?P<inside>.*)\)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Term:
    """One member of an expression: its weight (not normalised), name and arguments, and the call as it was written."""

    weight: Fraction
    name: str
    arguments: dict[str, Value]
    call: str


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the run: its share of the steps (not normalised), and what draws its rows."""

    share: Fraction
    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return " + ".join(f"{term.weight} {term.call}" for term in self.terms) if self.terms[1:] else self.terms[0].call


def parse(expression: str) -> tuple[Phase, ...]:
    """The phases that an expression names, and their members; a weight left out is 1.

    Raises:
        UsageError: what cannot be read, and what can.
    """
    return tuple(_phase(text, expression) for text in _phases(expression))


def _phases(expression: str) -> list[str]:
    """The text between the arrows that stand in no brackets."""
    phases, depth, start = [], 0, 0
    for i, character in enumerate(expression):
        depth += (character == "(") - (character == ")")
        if depth == 0 and expression.startswith("->", i):
            phases.append(expression[start:i])
            start = i + 2
    return [*phases, expression[start:]]


def _phase(text: str, expression: str) -> Phase:
    group = _GROUP.fullmatch(text)
    terms = tuple(_term(member, expression) for member in (group["inside"] if group else text).split("+"))
    if group is None:
        return Phase(Fraction(1) if terms[1:] else terms[0].weight, terms)
    share = read_number(group["weight"] or "1")
    if not share:
        raise _unreadable(text, expression, "a share of the steps above 0")
    return Phase(share, terms)


def _term(text: str, expression: str) -> Term:
    found = _TERM.fullmatch(text)
    if found is None:
        raise _unreadable(text, expression, "[weight] name or [weight] name(key=value, ...)")
    weight = read_number(found["weight"] or "1")
    if not weight:
        raise _unreadable(text, expression, "a weight above 0")
    inside = (found["inside"] or "").strip()
    arguments = read_arguments(inside, lambda part, expected: _unreadable(part, expression, expected))
    return Term(weight, found["name"], arguments, f"{found['name']}({inside})" if inside else found["name"])


def _unreadable(text: str, expression: str, expected: str) -> UsageError:
    return UsageError(
        f"cannot read {text.strip()!r} in the objective {expression!r}: expected {expected}; "
        'for example "mlm(rate=0.3)", "1/2 causal + 1/2 mlm(rate=0.3->0.15, words=whole)" or "1/3 causal -> 2/3 mlm"'
    )
