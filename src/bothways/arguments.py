"""What public calls are given, looked at before anything is done: what is wrong with it is one plain sentence."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from types import FunctionType, NoneType, SimpleNamespace, UnionType
from typing import (
    Any,
    ParamSpec,
    Protocol,
    TypeVar,
    Union,
    Unpack,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from bothways.errors import UsageError, unknown


class TextColumn(Protocol):
    """A column of a table: of pandas, or an array of numpy."""

    def tolist(self) -> list[Any]:
        """Its values."""


Texts = list[str] | tuple[str, ...] | Iterator[str] | TextColumn
"""Several texts, for type checkers; taken is whatever can be gone through, a column of `datasets` too."""

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

_KINDS: dict[Any, tuple[type | tuple[type, ...], str]] = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    bool: (bool, "True or False"),
    str: (str, "a text"),
    Path: (PathLike, "a path"),
    NoneType: (NoneType, "None"),
}


def checked(function: Callable[P, R], *, defaults: Mapping[str, object] | None = None) -> Callable[P, R]:
    """The same function, which refuses arguments that it does not have or that are of another kind than annotated.

    Looked at are plain kinds (numbers, texts, paths, records) and unions of them; the function itself sees to the rest.
    A path may be given as text. Its signature has the keywords that a TypedDict names one by one, for completion;
    `defaults` are theirs.

    Raises:
        UsageError: the name that it does not have, beside those it has; or what was expected and what came.
    """
    signature = inspect.signature(function)
    name = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        hints, known = _hints(function), _names(function)
        if odd := [key for key in kwargs if key not in known]:
            raise unknown(f"argument of {name}", odd[0], known)
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(f"{name}: {error}. It takes: {', '.join(known) or 'nothing'}.") from None
        for key, value in given.arguments.items():
            kind = signature.parameters[key].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                given.arguments[key] = tuple(_fitting(key, one, hints.get(key)) for one in value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                given.arguments[key] = {which: _fitting(which, one, hints[which]) for which, one in value.items()}
            else:
                given.arguments[key] = _fitting(key, value, hints.get(key))
        return function(*given.args, **given.kwargs)

    if defaults is not None:
        call.__dict__["__signature__"] = _one_by_one(function, signature, defaults)
    return call


def _one_by_one(
    function: Callable[..., Any], signature: inspect.Signature, defaults: Mapping[str, object]
) -> inspect.Signature:
    """A signature with the keys of a TypedDict in the place of **keywords of it."""
    *others, last = signature.parameters.values()
    if last.kind is not inspect.Parameter.VAR_KEYWORD:
        return signature
    # of this annotation alone: others may name a class that is only being made
    only = SimpleNamespace(__annotations__={last.name: last.annotation})
    named = get_args(get_type_hints(only, vars(sys.modules[function.__module__]))[last.name])[0]
    kinds = get_type_hints(named)
    where = inspect.Parameter.KEYWORD_ONLY
    made = [inspect.Parameter(key, where, default=defaults[key], annotation=kinds[key]) for key in kinds]
    return signature.replace(parameters=[*others, *made])


def all_checked(kind: C, *, defaults: Mapping[str, object] | None = None) -> C:
    """A class whose public methods are `checked`, and so is what makes it; `defaults` of keywords as there."""
    for name, method in [*vars(kind).items()]:
        if name.startswith("_") and name not in ("__init__", "__getitem__"):
            continue
        if isinstance(method, FunctionType):
            setattr(kind, name, checked(method, defaults=defaults))
        elif isinstance(method, classmethod):
            setattr(kind, name, classmethod(checked(method.__func__)))
    return kind


def at_least(least: int, name: str, value: int | None, meaning: str) -> None:
    """
    Raises:
        UsageError: a number that is less; None is none.
    """
    if value is not None and value < least:
        raise UsageError(f"{name} is {meaning}, {least} or more, got {value}")


def several(values: object, what: str = "text") -> list[str]:
    """One text, or several in any order that can be gone through, as a list of texts.

    Raises:
        UsageError: one that is no text; its number is named.
    """
    if isinstance(values, str):
        return [values]
    found = gone_through(values, f"a {what}, or a list of them")
    for number, value in enumerate(found, 1):
        if not isinstance(value, str):
            raise UsageError(
                f"{what} {number}: expected a text, got {shown(value)}. Leave it out, or write it as text."
            )
    return found


def several_or_pairs(values: object) -> list[str | tuple[str, str]]:
    """Texts, or pairs of texts, as a list.

    Raises:
        UsageError: one that is neither; its number is named.
    """
    given = [values] if isinstance(values, str | tuple) else gone_through(values, "a text or a pair, or a list of them")
    found = []
    for number, value in enumerate(given, 1):
        texts = [value] if isinstance(value, str) else list(value) if isinstance(value, tuple | list) else []
        if not texts or not all(isinstance(text, str) for text in texts):
            raise UsageError(f"text {number}: expected a text or a pair of texts, got {shown(value)}")
        found.append(value if isinstance(value, str) else tuple(texts))
    return cast("list[str | tuple[str, str]]", found)


def gone_through(values: object, expected: str) -> list[Any]:
    """Several values, in whatever they come, as a list.

    Raises:
        UsageError: it is no list, generator or column.
    """
    if hasattr(values, "columns"):
        raise UsageError(f"expected {expected}, got a table ({type(values).__name__}): give one of its columns")
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise UsageError(f"expected {expected}, got {shown(values)}")
    return list(values)


def shown(value: object) -> str:
    """A value as a message names it, with its kind where that is not seen."""
    if value is None or isinstance(value, bool | str | Sequence):
        return _short(repr(value))
    if isinstance(value, float) and math.isnan(value):
        return "nan, which is how tables write an empty cell"
    if hasattr(value, "columns"):
        return f"a table ({type(value).__name__})"
    return f"{_short(repr(value))} ({type(value).__name__})"


def a_file_instead(value: object) -> str:
    """What to do with records in memory where the path of a file is expected; of anything else, nothing."""
    if hasattr(value, "to_json"):
        return '. Write it to a file: .to_json("train.jsonl", orient="records", lines=True)'
    return ". Write them to a file, a line of JSON for each" if isinstance(value, list) else ""


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fitting(name: str, value: object, hint: Any) -> object:
    """The value; what is hinted at as anything but plain kinds is not looked at.

    Raises:
        UsageError: it is of none of the kinds of the hint.
    """
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if Path in kinds and str not in kinds and isinstance(value, str):
        return Path(value)
    known = [_KINDS.get(one, (one, f"a {one.__name__}")) for one in kinds if _tells(one)]
    if len(known) < len(kinds) or hint is None or hint is object:
        return value
    value = bool(value) if _is_numpys_bool(value) else value
    fits = any(isinstance(value, one) and (one is bool or not isinstance(value, bool)) for one, _ in known)
    if not fits or (isinstance(value, float) and math.isnan(value)):
        hint = a_file_instead(value) if Path in kinds else ""
        raise UsageError(f"{name}: expected {' or '.join(said for _, said in known)}, got {shown(value)}{hint}")
    return value


def _is_numpys_bool(value: object) -> bool:
    """Whoever has one has imported numpy; the command line is quicker without."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.bool_)


def _tells(kind: Any) -> bool:
    """Whether `isinstance` can be asked: of classes, protocols and dictionaries with known keys aside."""
    return isinstance(kind, type) and not getattr(kind, "_is_protocol", False) and not is_typeddict(kind)


@cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """{argument: its annotation}; of a TypedDict of options, those of its keys."""
    hints = get_type_hints(function)
    for hint in [*hints.values()]:
        if get_origin(hint) is Unpack and is_typeddict(get_args(hint)[0]):
            hints |= get_type_hints(get_args(hint)[0])
    return hints


@cache
def _names(function: Callable[..., Any]) -> list[str]:
    """The names of the arguments that it takes, in order."""
    hints, names = _hints(function), []
    for parameter in [*inspect.signature(function).parameters.values()]:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            names += [*get_type_hints(get_args(hints[parameter.name])[0])]
        elif parameter.name not in ("self", "cls"):
            names.append(parameter.name)
    return names
