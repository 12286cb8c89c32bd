"""Labels as strings: every spelling of a class, a tag, an intent or a relation is one name."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_WHOLE = re.compile(r"(-?\d+)\.0+")


def label_name(value: Any) -> str | None:
    """The one spelling of a label: composed letters (NFC), no white space around it; numbers as digits, those that are
    whole without their ".0", and True and False, as pandas writes them. None: it names no class."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, str | int | float):
        return None
    name = unicodedata.normalize("NFC", str(value)).strip()
    return _WHOLE.sub(r"\1", name) if _WHOLE.fullmatch(name) else name or None


def natural(label: str) -> tuple[float, str]:
    """Labels that are numbers in the order of numbers: "2" before "10"."""
    return (float(label), label) if _NUMBER.fullmatch(label) else (math.inf, label)


def spellings(labels: Sequence[str]) -> dict[str, str]:
    """{a label as `label_name` spells it: as a model does}."""
    return {label_name(label) or label: label for label in labels} | {label: label for label in labels}


def renamed(gold: Any, names: Mapping[str, str]) -> Any:
    """A right answer with its labels, one or a tuple of them, by other names where there are; other answers as they
    are."""
    if isinstance(gold, str):
        return names.get(gold, gold)
    return tuple(names.get(one, one) for one in gold) if labels_in(gold) else gold


def labels_in(gold: Any) -> tuple[str, ...]:
    """The labels of a right answer; none where it is no label (a number, a span)."""
    some = gold if isinstance(gold, tuple) else (gold,)
    return some if all(isinstance(one, str) for one in some) else ()
