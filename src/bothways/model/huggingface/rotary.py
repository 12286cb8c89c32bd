"""Rotary positions in a config.json: rope_parameters, and rope_scaling and rope_theta of older versions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bothways.errors import ModelError
from bothways.model.config import PositionConfig

_FIELDS: dict[str, dict[str, str]] = {
    "linear": {"factor": "factor"},
    "llama3": {
        "factor": "factor",
        "low": "low_freq_factor",
        "high": "high_freq_factor",
        "length": "original_max_position_embeddings",
    },
    "yarn": {
        "factor": "factor",
        "low": "beta_slow",
        "high": "beta_fast",
        "length": "original_max_position_embeddings",
        "weight": "attention_factor",
        "whole": "truncate",
    },
}
"""{rope_type: {field of RotaryScaling: its name in config.json}}"""
NAMES = {f"positions.scaling.{ours}": theirs for names in _FIELDS.values() for ours, theirs in names.items()}


def rotary_json(positions: PositionConfig) -> dict[str, Any]:
    """rope_parameters."""
    scaling = positions.scaling
    if scaling is None:
        return {"rope_theta": positions.base, "rope_type": "default"}
    found = {theirs: getattr(scaling, ours) for ours, theirs in _FIELDS[scaling.kind].items()}
    return {"rope_theta": positions.base, "rope_type": scaling.kind, **found}


def read_rotary(told: Mapping[str, Any]) -> dict[str, Any]:
    """rope_scaling, where it says anything, stands for the whole of rope_parameters; rope_theta and
    partial_rotary_factor beside them are for what they leave open.

    Raises:
        ModelError: a kind of scaling that is not ours, or something that it does not take.
    """
    field = "rope_scaling" if told.get("rope_scaling") else "rope_parameters"
    rope = told.get(field) or {}
    if not isinstance(rope, dict):
        raise ModelError(f"config.json: {field}: expected an object, got {rope!r}")
    beside = {name: told[name] for name in ("rope_theta", "partial_rotary_factor") if name in told}
    rope = {"rope_theta": 10_000.0, **beside, **rope}
    kind = rope.pop("rope_type", rope.pop("type", "default"))
    rope.pop("type", None)
    if kind != "default" and (not isinstance(kind, str) or kind not in _FIELDS):
        known = ", ".join(map(repr, ("default", *_FIELDS)))
        raise ModelError(f"config.json: {field}: rope_type is {kind!r}; Bothways loads {known}")
    if rope.pop("partial_rotary_factor", None) not in (None, 1.0):
        raise ModelError(f"config.json: partial_rotary_factor in {field}: Bothways turns the whole of a head")
    if kind in ("llama3", "yarn"):
        # transformers takes the one beside the object before the one in it
        length = "original_max_position_embeddings"
        rope[length] = told.get(length, rope.get(length, told["max_position_embeddings"]))
    if kind == "yarn":
        rope = _filled(rope)
    computed = {"rope_theta", *_FIELDS.get(kind, {}).values()}
    if odd := sorted(name for name in rope.keys() - computed if rope[name] is not None):
        raise ModelError(f"config.json: {field}: {odd[0]} is no part of rope_type {kind!r}")
    if missing := sorted(computed - rope.keys()):
        raise ModelError(f"config.json: {field}: {missing[0]} is missing, which rope_type {kind!r} needs")
    names = _FIELDS.get(kind)
    scaling = None if names is None else {"kind": kind, **{ours: rope[theirs] for ours, theirs in names.items()}}
    return {"positions.base": rope["rope_theta"], "positions.scaling": scaling}


def _filled(rope: dict[str, Any]) -> dict[str, Any]:
    """What transformers takes where YaRN's parameters are silent (Peng et al. 2023, section 3.4, for the weight)."""
    rope = {"beta_slow": None, "beta_fast": None, "attention_factor": None, "truncate": True, **rope}
    rope["beta_slow"], rope["beta_fast"] = rope["beta_slow"] or 1.0, rope["beta_fast"] or 32.0
    one, all_ = rope.pop("mscale", None), rope.pop("mscale_all_dim", None)
    if rope["attention_factor"] is None and isinstance(rope.get("factor"), int | float) and rope["factor"] >= 1:
        factor = rope["factor"]
        rope["attention_factor"] = _weight(factor, one) / _weight(factor, all_) if one and all_ else _weight(factor, 1)
    return rope


def _weight(factor: float, scale: float) -> float:
    return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0
