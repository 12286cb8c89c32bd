"""Calls as settings write them: "mlm(rate=0.3->0.15, words=whole)", "lora(rank=8, on=[q, v], rslora=true)".

call     = name ["(" [argument {"," argument}] ")"]
argument = key "=" value
value    = number | number "->" number | name | "[" name {"," name} "]"
number   = decimal ["/" decimal]
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

DECIMAL = r"(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})"  # of bounded length, so that no number takes long to compute
NUMBER = rf"{DECIMAL}(?:\s*/\s*{DECIMAL})?"
NAME = r"[^\W\d]\w*(?:-\w+)*"
_LIST = rf"\[\s*(?:{NAME}\s*(?:,\s*{NAME}\s*)*)?\]"
_ARGUMENT = re.compile(rf"\s*(?P<key>{NAME})\s*=\s*(?P<value>{NUMBER}(?:\s*->\s*{NUMBER})?|{NAME}|{_LIST})\s*")
_COMMA = re.compile(r",(?![^\[]*\])")  # between arguments, not inside a list


@dataclass(frozen=True, slots=True)
class Linear:
    """A number that goes in a straight line from `start` to `end`."""

    start: float
    end: float

    def __str__(self) -> str:
        return f"{self.start:g}->{self.end:g}"


Value = float | Linear | str | tuple[str, ...]


def read_arguments(inside: str, unreadable: Callable[[str, str], Exception]) -> dict[str, Value]:
    """{key: value} of what stands between the brackets of a call.

    Raises:
        Exception: that which `unreadable` makes of a part that cannot be read and of what was expected instead.
    """
    found: dict[str, Value] = {}
    for written in _COMMA.split(inside) if inside.strip() else ():
        argument = _ARGUMENT.fullmatch(written)
        value = _value(argument["value"]) if argument else None
        if argument is None or value is None:
            raise unreadable(written, "key=value, the value a number, number->number, a name or [names]")
        if argument["key"] in found:
            raise unreadable(written, f"{argument['key']!r} only once")
        found[argument["key"]] = value
    return found


def _value(text: str) -> Value | None:
    if text.startswith("["):
        return tuple(re.findall(NAME, text))
    numbers = [read_number(end) for end in text.split("->")] if re.match(DECIMAL, text) else []
    if not numbers:
        return text
    if None in numbers:
        return None
    first, *rest = (float(number) for number in numbers if number is not None)
    return Linear(first, *rest) if rest else first


def read_number(text: str) -> Fraction | None:
    """What matches NUMBER; None where it divides by zero."""
    top, *bottom = (Fraction(part.strip().rstrip(".")) for part in text.split("/"))
    if not bottom:
        return top
    return top / bottom[0] if bottom[0] else None
