"""Checked records: YAML in and out, `--set training.budget.steps=100`; a misspelt key brings the nearest one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from bothways.errors import UsageError, unknown


class Frozen(BaseModel):
    """A record that does not change and takes no key it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


M = TypeVar("M", bound=BaseModel)


def read(kind: type[M], values: Mapping[str, Any], *, below: str = "") -> M:
    """A checked configuration record.

    Raises:
        UsageError: a key is unknown (the nearest is named) or a value does not fit; the whole path of the key is named.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")  # else as they come
        path = ".".join([*([below] if below else []), *(str(part) for part in first["loc"])])
        if first["type"] == "extra_forbidden":
            raise unknown("configuration key", path, _keys(kind, below)) from None
        got = "" if first["type"] == "missing" else f", got {first['input']!r}"
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"configuration: {path or kind.__name__}: {message}{got}") from None


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
    result: dict[str, Any] = yaml.safe_load(yaml.safe_dump(dict(values)))
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.split(".")):
            raise UsageError(f"--set expects key=value, got {setting!r}. For example: --set training.seed=1")
        try:
            value = number(yaml.safe_load(text))
        except yaml.YAMLError:
            raise UsageError(f"--set {key}: {text!r} is not a value that YAML can read") from None
        *path, last = key.split(".")
        place = result
        for part in path:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise UsageError(f"--set {key}: {part!r} is a value, not a group of keys")
            place = inner
        if path[-1:] == ["budget"]:
            place.clear()  # a budget is exactly one: the last one said
        place[last] = value
    return result


def number(value: Any) -> Any:
    """YAML reads 5e13 as a string (it wants 5.0e+13); people write 5e13."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def load_config(path: Path) -> dict[str, Any]:
    """The values of a YAML file.

    Raises:
        UsageError: the file is missing or no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: cannot be read as YAML ({error})") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected keys and values, got {type(values).__name__}")
    return values


def dump(config: BaseModel) -> str:
    """YAML that `load_config` reads back."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text
