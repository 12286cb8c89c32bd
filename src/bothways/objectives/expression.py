"""Objectives as they are written: "1/2 causal + 1/2 mlm(rate=0.3, words=whole)", "causal -> mlm".

expression = phase {"->" phase}
phase      = term | mixture | [weight ["*"]] "(" mixture ")"
mixture    = term {"+" term}
term       = [weight ["*"]] name ["(" [key "=" value {"," key "=" value}] ")"]
value      = number | number "->" number | name
weight     = number
number     = decimal ["/" decimal]
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from bothways.errors import UsageError
from bothways.objectives.corruptions import Linear

_DECIMAL = r"(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})"  # of bounded length, so that no number takes long to compute
_NUMBER = rf"{_DECIMAL}(?:\s*/\s*{_DECIMAL})?"
_NAME = r"[^\W\d]\w*(?:-\w+)*"
_TERM = re.compile(rf"\s*(?:(?P<weight>{_NUMBER})\s*\*?\s*)?(?P<name>{_NAME})\s*(?:\((?P<inside>[^()]*)\)\s*)?")
_GROUP = re.compile(rf"\s*(?:(?P<weight>{_NUMBER})\s*\*?\s*)?\((?P<inside>.*)\)\s*", re.DOTALL)
_ARGUMENT = re.compile(rf"\s*(?P<key>{_NAME})\s*=\s*(?P<value>{_NUMBER}(?:\s*->\s*{_NUMBER})?|{_NAME})\s*")

Value = float | Linear | str


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
    share = _number(group["weight"] or "1")
    if not share:
        raise _unreadable(text, expression, "a share of the steps above 0")
    return Phase(share, terms)


def _term(text: str, expression: str) -> Term:
    found = _TERM.fullmatch(text)
    if found is None:
        raise _unreadable(text, expression, "[weight] name or [weight] name(key=value, ...)")
    weight = _number(found["weight"] or "1")
    if not weight:
        raise _unreadable(text, expression, "a weight above 0")
    arguments: dict[str, Value] = {}
    inside = (found["inside"] or "").strip()
    for written in inside.split(",") if inside else ():
        argument = _ARGUMENT.fullmatch(written)
        value = _value(argument["value"]) if argument else None
        if argument is None or value is None:
            raise _unreadable(written, expression, "key=value, the value a number, number->number or a name")
        if argument["key"] in arguments:
            raise _unreadable(written, expression, f"{argument['key']!r} only once")
        arguments[argument["key"]] = value
    return Term(weight, found["name"], arguments, f"{found['name']}({inside})" if inside else found["name"])


def _value(text: str) -> Value | None:
    numbers = [_number(end) for end in text.split("->")] if re.match(_DECIMAL, text) else []
    if not numbers:
        return text
    if None in numbers:
        return None
    first, *rest = (float(number) for number in numbers if number is not None)
    return Linear(first, *rest) if rest else first


def _number(text: str) -> Fraction | None:
    """None where it divides by zero."""
    top, *bottom = (Fraction(part.strip().rstrip(".")) for part in text.split("/"))
    if not bottom:
        return top
    return top / bottom[0] if bottom[0] else None


def _unreadable(text: str, expression: str, expected: str) -> UsageError:
    return UsageError(
        f"cannot read {text.strip()!r} in the objective {expression!r}: expected {expected}; "
        'for example "mlm(rate=0.3)", "1/2 causal + 1/2 mlm(rate=0.3->0.15, words=whole)" or "1/3 causal -> 2/3 mlm"'
    )
