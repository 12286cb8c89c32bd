"""A run's configuration: YAML in and out, `--set training.budget.steps=100`; a misspelt key brings the nearest one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from bothways.errors import UsageError, unknown
from bothways.model import ModelConfig, preset
from bothways.model.config import SIZES
from bothways.training.config import Budget, Frozen, TrainingConfig

STEP_TOKENS = {"tiny": 8192, "mini": 16384, "small": 32768, "base": 65536}
"""Pieces in a step by size: tiny and mini by trial (docs/results.md), the others, never trained here, after them."""


def step_tokens_for(size: str) -> int:
    """Those of the narrowest preset that is as wide."""
    _, _, width = size.partition("x")
    wide = int(width) if width.isdecimal() else SIZES.get(size, SIZES["tiny"])[1]
    return next((tokens for name, tokens in STEP_TOKENS.items() if SIZES[name][1] >= wide), STEP_TOKENS["base"])


class PretrainConfig(Frozen):
    """What `bothways pretrain` is told.

    shards     a folder made by `bothways prepare`
    out        the run's folder
    objective  an expression: "hybrid", "1/2 causal + 1/2 mlm(rate=0.3)"
    size       tiny, mini, small, base, or LAYERSxWIDTH: 6x192; not asked where `start` is
    model      fields of ModelConfig that differ from the size's
    code       Python files with objectives of one's own
    start      a model to go on from: a run, a Hugging Face folder, or a name of its hub
    replay     other shards of the same tokenizer, of which rows are mixed in
    replay_share  of the rows
    """

    shards: Path
    out: Path
    objective: str = "hybrid"
    size: str = "tiny"
    model: dict[str, Any] = {}
    code: tuple[Path, ...] = ()
    start: str | None = None
    replay: Path | None = None
    replay_share: float = Field(default=0.1, gt=0, lt=1)
    training: TrainingConfig

    @model_validator(mode="before")
    @classmethod
    def _fill_step_tokens(cls, values: Any) -> Any:
        """A step as large as the size wants, unless it is said."""
        training = values.get("training") if isinstance(values, dict) else None
        if not isinstance(training, dict):
            return values
        return {**values, "training": {"step_tokens": step_tokens_for(str(values.get("size", "tiny"))), **training}}

    def model_config_for(self, vocabulary: int) -> ModelConfig:
        """The model's shape: the preset with the changes of `model`."""
        base = preset(self.size, vocabulary=vocabulary, length=self.training.length)
        return read(ModelConfig, {**base.model_dump(), **self.model}, below="model")


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
        if last in Budget.model_fields and path[-1:] == ["budget"]:
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


def read_budget(text: str) -> dict[str, float]:
    """Reads "300s" or "300seconds", "1000steps", "5e6tokens", "1e14flops" -> {"seconds": 300.0}.

    Raises:
        UsageError: anything else.
    """
    units = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"} | {unit: unit for unit in Budget.model_fields}
    plain = text.strip().lower().replace(" ", "")
    unit = next((unit for unit in sorted(units, key=len, reverse=True) if plain.endswith(unit)), "")
    name = units.get(unit, "")
    try:
        amount = float(plain.removesuffix(unit)) * {"minutes": 60, "hours": 3600, "days": 86400}.get(name, 1)
    except ValueError:
        amount = math.nan
    if not unit or not math.isfinite(amount) or amount < (1 if unit == "steps" else 1e-9):
        raise UsageError(
            f"a budget is a number and a unit: 1000steps, 5e6tokens, 1e14flops, 300s, 40min, 2d; got {text!r}"
        )
    name = "seconds" if name in ("minutes", "hours", "days") else name
    return {name: int(amount) if name == "steps" else amount}


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
