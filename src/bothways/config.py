"""Checked records: YAML in and out, `--set training.budget.steps=100`; a misspelt key brings the nearest one.

A function that takes a record takes its fields as keywords too: `settled`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast, get_args, overload

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from bothways.arguments import a_file_instead, shown
from bothways.errors import UsageError, unknown
from bothways.own import settings_of
from bothways.reading import UnreadableError, parse_yaml, read_yaml


class Frozen(BaseModel):
    """A record that does not change and takes no key it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AsText = BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)
"""Of a field for a folder or a name of the hub: a path is taken as its text."""

M = TypeVar("M", bound=BaseModel)
Own = ParamSpec("Own")
Fields = ParamSpec("Fields")
R_co = TypeVar("R_co", covariant=True)

EXPECTED = {
    "tuple_type": "expected a list, as in [first, second]",
    "dict_type": "expected names and values, as in {name: value}",
    "path_type": "expected a path",
}
"""What pydantic would say in words of Python's types, by the type of its error."""


class Settled(Protocol[Own, Fields, R_co]):
    """What `settled` makes: the function with its record, with the fields of the record, or with dotted names."""

    @overload
    def __call__(self, *args: Own.args, **kwargs: Own.kwargs) -> R_co: ...
    @overload
    def __call__(self, *args: Fields.args, **kwargs: Fields.kwargs) -> R_co: ...
    @overload
    def __call__(self, *args: Any, **kwargs: Any) -> R_co: ...


def settled(
    kind: Callable[Fields, BaseModel], name: str = "config"
) -> Callable[[Callable[Own, R_co]], Settled[Own, Fields, R_co]]:
    """The same function, whose record `name` may also be given as its fields, by keyword.

    `pretrain(PretrainConfig(...))` is `pretrain("shards", out="run", size="mini")`: where the record stands first, so
    does its first field. A setting of a record inside is named with dots, `**{"training.seed": 1}`, or given as a
    dict, `training={"seed": 1}`.

    Raises (the function):
        UsageError: a keyword that is unknown (the nearest is named), a value that does not fit, or a record and fields.
    """
    record = cast("type[BaseModel]", kind)

    def decorate(function: Callable[Own, R_co]) -> Settled[Own, Fields, R_co]:
        own = inspect.signature(function).parameters
        first = next(iter(own)) == name

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> R_co:
            fields = {key: kwargs.pop(key) for key in [*kwargs] if key not in own}
            if first and len(args) > 1:
                raise UsageError(f"{function.__name__}: expected one argument before its keywords, got {len(args)}")
            if first and args and not isinstance(args[0], record):
                fields = {next(iter(record.model_fields)): args[0], **fields}
                args = ()
            if name in kwargs or (first and args):
                if fields:
                    raise UsageError(
                        f"expected the settings as a record or by their names, got both: {', '.join(fields)}"
                    )
            elif first or fields:
                kwargs[name] = _of_keywords(record, fields, function.__name__, [one for one in own if one != name])
            return function(*args, **kwargs)

        call.__dict__["__signature__"] = _with_fields(inspect.signature(function), record, name, first=first)
        return cast("Settled[Own, Fields, R_co]", call)

    return decorate


def _of_keywords(kind: type[M], fields: Mapping[str, Any], function: str, own: Sequence[str]) -> M:
    values: dict[str, Any] = {}
    for key, value in fields.items():
        if key.partition(".")[0] not in kind.model_fields:
            raise unknown(f"argument of {function}", key, [*_keys(kind), *own])
        put(values, key, value, key)
    return read(kind, values)


def _with_fields(own: inspect.Signature, kind: type[BaseModel], name: str, *, first: bool) -> inspect.Signature:
    """A signature with the fields of a record in the place of the record."""
    made: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        if parameter.name != name:
            made.append(parameter)
            continue
        for number, (key, field) in enumerate(kind.model_fields.items()):
            where = parameter.kind if first and number == 0 else inspect.Parameter.KEYWORD_ONLY
            default = inspect.Parameter.empty if field.is_required() else field.default
            made.append(inspect.Parameter(key, where, default=default, annotation=field.annotation))
    return own.replace(parameters=made)


def read(kind: type[M], values: Mapping[str, Any], *, below: str = "") -> M:
    """A checked configuration record.

    Raises:
        UsageError: a key is unknown (the nearest is named) or a value does not fit; the whole path of the key is named.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        strange, *more = [_path(found, below) for found in error.errors() if found["type"] == "extra_forbidden"] or [""]
        if strange:
            also = f" Unknown too: {', '.join(more)}." if more else ""
            raise UsageError(f"{unknown('configuration key', strange, _keys(kind, below))}{also}") from None
        first = error.errors()[0]
        path = _path(first, below)
        message = first["msg"].removeprefix("Value error, ")
        told = first["type"] == "missing" or "; got " in message or message.endswith(".")  # as `errors.unknown` says it
        got = "" if told else f", got {first['input']!r:.200}"
        message = EXPECTED.get(first["type"], message)
        if first["type"] == "path_type":
            got = f", got {shown(first['input'])}{a_file_instead(first['input'])}"
        raise UsageError(f"configuration: {path or kind.__name__}: {message}{got}") from None


def _path(found: ErrorDetails, below: str) -> str:
    return ".".join([*([below] if below else []), *(str(part) for part in found["loc"])])


def _keys(kind: type[BaseModel], below: str = "") -> list[str]:
    """Dotted names of all keys and of their groups."""
    names = []
    for name, field in kind.model_fields.items():
        path = f"{below}.{name}" if below else name
        inner = [t for t in (field.annotation, *get_args(field.annotation)) if isinstance(t, type)]
        records = [t for t in inner if issubclass(t, BaseModel)]
        names += [path, *(_keys(records[0], path) if records else [])]
    return names


def with_settings(values: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Applies "training.budget.steps=100" and the like; values are read as YAML.

    Raises:
        UsageError: a setting without "=", or a value that is no YAML.
    """
    result = deepcopy(dict(values))
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise UsageError(f"--set expects key=value, got {setting!r}. For example: --set training.seed=1")
        try:
            value = parse_yaml(text)
            value = number(value) if value == text.strip() else value  # in quotes it is text
        except UnreadableError as error:
            raise UsageError(f"--set {key}: {text!r:.80} is not a value that YAML can read ({error})") from None
        put(result, key, value, f"--set {key}")
    return result


def put(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Sets "training.budget.steps" in values within values, which are made anew; `where` stands in messages.

    Raises:
        UsageError: what stands above is no group of keys.
    """
    *path, last = key.split(".")
    for part in path:
        inner = values.get(part, {})
        if isinstance(inner, BaseModel):
            inner = inner.model_dump(exclude_unset=True)
        if part == "budget" and isinstance(inner, str):
            inner = {}
        if not isinstance(inner, dict):
            raise UsageError(f"{where}: {part!r} is a value, not a group of keys")
        values[part] = values = {**inner}
    if path[-1:] == ["budget"]:
        values.clear()  # a budget is exactly one: the last one said
    values[last] = value


def number(value: Any) -> Any:
    """YAML reads 5e13 as a string (it wants 5.0e+13); people write 5e13."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def load_config(path: Path) -> dict[str, Any]:
    """The values of a YAML file, or those that the function `recipe` of a Python file gives.

    Raises:
        UsageError: the file is missing or does not run, or they are no mapping.
    """
    values = settings_of(path) if path.suffix == ".py" else read_yaml(path)
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected keys and values, got {type(values).__name__}")
    return values


def read_file(kind: type[M], path: Path) -> M:
    """The record that a YAML file holds.

    Raises:
        UsageError: as `load_config` and `read`; the file is named.
    """
    values = load_config(path)
    try:
        return read(kind, values)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def dump(config: BaseModel) -> str:
    """YAML that `load_config` reads back."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text
