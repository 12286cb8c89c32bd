"""config.json of a model, read and written by its family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bothways.errors import ModelError
from bothways.model.config import ModelConfig
from bothways.model.huggingface.families import family_of
from bothways.model.huggingface.family import BOTH_SIDES, SIZES, Family, flat, nested
from bothways.model.huggingface.rotary import NAMES as ROTARY_NAMES
from bothways.reading import NAMES

LARGEST_SIZE = 2**31
MOST_LABELS = 2**20
"""That are counted and not named."""
_ROTARY = ("rope_parameters", "rope_scaling", "rope_theta", "partial_rotary_factor")
_KINDS: dict[str, type] = {
    **dict.fromkeys(("rope_parameters", "rope_scaling"), dict),
    "layer_types": list,
    "scale_embedding": bool,
}
"""What is read and is no number."""
_WIDTHS = ("width", "heads", "attention.key_heads", "attention.head_size")


def from_left(values: Mapping[str, Any]) -> bool:
    """Whether the body reads from left to right.

    transformers asks twice: for the mask, where false or null says that all is seen, and for the kernel that runs
    where no mask is needed, to which null says nothing. Without padding the second decides, with padding the first.

    Raises:
        ModelError: they contradict each other, so that the same text would be read in two ways.
    """
    field, usual = family_of(values).direction
    told = values.get("is_causal", True)
    usual = bool(values.get("is_decoder", usual)) if field == "is_decoder" else usual
    mask, kernel = usual and bool(told), usual if told is None or "is_causal" not in values else bool(told)
    if mask != kernel:
        raise ModelError(
            f"config.json: is_causal is {told!r}: transformers reads this model from left to right, but from all sides "
            f"where a text is padded. Set is_causal to {str(usual).lower()}, or leave it out."
        )
    return mask


def read_config(values: Mapping[str, Any], *, words: bool) -> ModelConfig:
    """The shape that a config.json describes; `words`: a word head of its own is among the weights.

    Raises:
        ModelError: a kind of model that is not ours, or a variant of it; the field is named.
    """
    family = family_of(values)
    told = _understood(values, family)
    from_left(values)
    _check_kinds(told, family)
    read = {ours: told[theirs] for ours, theirs in family.fields.items()}
    read |= family.read(told) | {"word_head": _word_head(told, family, words=words)}
    read["length"] -= family.positions * family.counted
    try:
        return ModelConfig.model_validate(_joined(family.parts, nested(read)))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            names = {**family.fields, **family.computed}
            *most, last = [names[name] for name in _WIDTHS if name in names]
            fields = f"{', '.join(most)} and {last}"
            message = first["msg"].removeprefix("Value error, ")
            raise ModelError(f"config.json: {fields} do not fit: {message}") from None
        field = ".".join(map(str, first["loc"]))
        theirs = {**family.computed, **ROTARY_NAMES, **family.fields}.get(field, field)
        raise ModelError(f"config.json: {theirs} ({field}): {first['msg']}, got {first['input']!r}") from None


def _check_kinds(told: Mapping[str, Any], family: Family) -> None:
    """
    Raises:
        ModelError: a size that is none; a list or an object where a number is read, or the other way.
    """
    for ours, theirs in {name: family.fields.get(name, "") for name in SIZES}.items():
        if theirs and theirs not in told:
            raise ModelError(f"config.json: {theirs} is missing")
        if theirs and (type(told[theirs]) is not int or not 1 <= told[theirs] < LARGEST_SIZE):
            raise ModelError(
                f"config.json: {theirs} ({ours}): expected a whole number above 0, got {told[theirs]!r:.80}"
            )
    names = {*family.fields.values(), *family.computed.values(), *_ROTARY} - family.only.keys()
    for name in sorted(names & told.keys()):
        kind = _KINDS.get(name.rpartition(".")[2], float)
        whole = kind is float and type(told[name]) is int
        if told[name] is not None and not whole and type(told[name]) is not kind:
            raise ModelError(f"config.json: {name}: expected {NAMES[kind]}, got {told[name]!r:.80}")


def _joined(parts: Mapping[str, Any], read: Mapping[str, Any]) -> dict[str, Any]:
    """What a family fixes, with what its config.json gives in it."""
    records = {name for name in parts if isinstance(parts[name], Mapping)}
    return {**parts, **read, **{name: {**parts[name], **read.get(name, {})} for name in records}}


def _word_head(told: Mapping[str, Any], family: Family, *, words: bool) -> str:
    if "transformed" in family.word_heads:
        return "transformed" if words else "tied"
    body = class_of(told).endswith("Model") and not class_of(told).endswith("LMHeadModel")
    return "tied" if told["tie_word_embeddings"] or (body and not words) else "untied"


def _understood(values: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """Every field that is read, with what transformers takes where config.json is silent.

    Raises:
        ModelError: a value that is not computed.
    """
    told = {**family.silent, **_flattened(values, family)}
    told |= {real: values[other] for other, real in family.aliases.items() if other in values}
    counts = {"layer_types": told.get(family.fields["layers"])}
    counts |= {f"{side}.layer_types": told.get(f"{side}.num_hidden_layers") for side in BOTH_SIDES}
    for field, count in counts.items():
        kinds = told.get(field)
        everywhere = isinstance(kinds, list) and len(kinds) == count and all(one == "full_attention" for one in kinds)
        if field in family.only and everywhere:
            told[field] = None  # as if it said nothing
    for field, computed in family.only.items():
        if told.get(field) not in computed:
            only = " or ".join(repr(value) for value in computed)
            if field in counts:
                layers = field.replace("layer_types", "num_hidden_layers")
                only = f"'full_attention' for each of {counts[field]} in {layers}"
            raise ModelError(
                f"config.json: {field} is {told.get(field)!r}; Bothways loads this kind of model with {only} only"
            )
    for field, other in family.same.items():
        if told.get(field) != told.get(other):
            also = [f" ({alias})" for alias, real in family.aliases.items() if real == other and alias in told]
            raise ModelError(
                f"config.json: {field} is {told.get(field)!r} and {other}{''.join(also)} is {told.get(other)!r}; "
                "Bothways loads this kind of model with one value for both"
            )
    return told


def _flattened(values: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """The fields of config.json; where each side has a configuration of its own, its fields by dotted names."""
    found = dict(values)
    for side in BOTH_SIDES if family.nested else ():
        inner = found.pop(side, None)
        found |= {f"{side}.{name}": value for name, value in inner.items()} if isinstance(inner, Mapping) else {}
    return found


def written_config(config: ModelConfig, family: Family) -> dict[str, Any]:
    """The fields of config.json that describe a shape."""
    values = flat(config.model_dump())
    found = {theirs: values[ours] for ours, theirs in family.fields.items()}
    found[family.fields["length"]] += family.positions * family.counted
    found |= family.write(config)
    found |= {field: found[other] for field, other in family.same.items()}
    return nested({**found, "tie_word_embeddings": config.word_head != "untied"})


def sizes(values: Mapping[str, Any]) -> str:
    """What config.json says of the sizes of tensors, field by field."""
    family = family_of(values)
    told = {**family.silent, **_flattened(values, family)}
    others = {real: other for other, real in family.aliases.items() if other in values}
    names = {name: others.get(field, field) for name, field in {**family.fields, **family.computed}.items()}
    ours = (*SIZES, "decoder.layers", "embedding_width", "segments", "attention.key_heads", "attention.head_size")
    said = [f"{names[name]} {told[names[name]]}" for name in ours if name in names and names[name] in told]
    said.append(f"tie_word_embeddings {told['tie_word_embeddings']}")
    if class_of(values).endswith("Classification"):
        said.append(f"{len(labels_of(values))} labels by {'num_labels' if 'num_labels' in values else 'id2label'}")
    return ", ".join(said)


def class_of(values: Mapping[str, Any]) -> str:
    """The transformers class that config.json names; empty where it names none.

    Raises:
        ModelError: what should name it is no list of names.
    """
    named = values.get("architectures") or [""]
    if not isinstance(named, list) or not isinstance(named[0], str):
        raise ModelError(f"config.json: architectures: expected a list with the name of a class, got {named!r}")
    return named[0]


def labels_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels by number; transformers' own names where config.json has none, or num_labels another number of them.

    Raises:
        ModelError: they cannot be read.
    """
    named, count = values.get("id2label"), values.get("num_labels")
    if count is not None and (type(count) is not int or not 0 <= count <= MOST_LABELS):
        raise ModelError(
            f"config.json: num_labels: expected a whole number of up to {MOST_LABELS:,}, got {count!r:.80}"
        )
    if not isinstance(named, dict | None):
        raise ModelError(f"config.json: expected id2label as an object, got {named!r:.80}")
    if named is None or count not in (None, len(named)):
        named = {i: f"LABEL_{i}" for i in range(2 if count is None else count)}
    try:
        return tuple(str(named[number]) for number in sorted(named, key=int))
    except ValueError:
        raise ModelError(f"config.json: expected id2label as {{number: label}}, got {named!r:.200}") from None
