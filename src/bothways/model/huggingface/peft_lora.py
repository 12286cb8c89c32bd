"""LoRA as peft writes it: its names and its layers, from ours and back.

Where one of our layers is several of theirs (q, k and v), each of theirs has the A and B of its product. Where one of
theirs is several of ours or several products (GPT-2's c_attn), the A's are laid one under the other and the B's along
a diagonal, which is a wider rank; read back, each product has the A and its rows of B.

Letters: I what comes in, O what goes out, R rank.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bothways.errors import ModelError
from bothways.model.adapters.placing import LowRank, product_rows
from bothways.model.config import ModelConfig
from bothways.model.huggingface.family import Family, Half
from bothways.model.huggingface.weight_names import modules

BEFORE = "base_model.model."
"""What peft puts before the names of a model's modules."""
REFUSED: dict[str, tuple[Any, ...]] = {
    "use_dora": (False, None),
    "bias": ("none",),
    "lora_bias": (False, None),
    "layer_replication": (None,),
    "megatron_config": (None,),
    "trainable_token_indices": (None,),
    "target_parameters": (None, []),
    "alora_invocation_tokens": (None,),
    "use_qalora": (False, None),
    "arrow_config": (None,),
    "use_bdlora": (None,),
    # Others (pissa, olora, corda, loftq) change the weights of the base: what is added to it is not all that they are.
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
}
"""{field of peft's adapter_config.json: the values of it that are computed}; every other is refused by name."""


@dataclass(frozen=True, slots=True)
class Held:
    """A product of ours that a layer of theirs holds: of which layer it is, which, and how many rows it has."""

    layer: str
    product: str
    rows: int


def their_layers(config: ModelConfig, family: Family) -> dict[str, list[Held]]:
    """{linear layer of theirs: the products of ours that it is, from its first row on}."""
    decoder = config.decoder.layers if config.decoder else 0
    names = modules(family, config.layers, decoder=decoder)
    found: dict[str, list[Held]] = {}
    for side, count in (("backbone", config.layers), ("decoder", decoder)):
        for number in range(count):
            for inside, products in product_rows(config, crosses=side == "decoder").items():
                layer = f"{side}.blocks.{number}.{inside}"
                theirs, held = names[layer], [Held(layer, name, len(rows)) for name, rows in products.items()]
                if isinstance(theirs, Half):
                    found.setdefault(theirs.module, []).extend(held)
                elif len(theirs) == len(held):
                    found |= {their: [one] for their, one in zip(theirs, held, strict=True)}
                else:
                    found[theirs[0]] = held
    return found


def to_peft(
    weights: Mapping[str, Tensor],
    shapes: Mapping[str, LowRank],
    *,
    config: ModelConfig,
    family: Family,
    spelt: Callable[[str], str] = str,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What adapter_config.json says of the layers, and {their name, without `BEFORE`: tensor}; `spelt` are a layer's
    names in the class of the model that is adapted."""
    layers = {spelt(theirs): held for theirs, held in their_layers(config, family).items()}
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, tuple[int, float]] = {}
    usual = next(iter(shapes.values()))
    for theirs, held in layers.items():
        parts = list(_parts(weights, shapes, held, config))
        if not parts:
            continue
        rank, scale = sum(a.shape[0] for _, a, _ in parts), shapes[parts[0][0].layer].scale
        wide, top = parts[0][2].new_zeros(sum(one.rows for one in held), rank), 0
        for one in held:
            left = 0
            for other, a, b in parts:
                if other is one:
                    wide[top : top + one.rows, left : left + a.shape[0]] = b
                left += a.shape[0]
            top += one.rows
        tensors[f"{theirs}.lora_A.weight"] = torch.cat([a for _, a, _ in parts]).contiguous()
        tensors[f"{theirs}.lora_B.weight"] = wide.contiguous()
        ranks[theirs] = (rank, scale * rank)
    alpha = usual.rank * usual.scale
    odd = {name: one for name, one in ranks.items() if one[0] != usual.rank}
    told = {
        "r": usual.rank,
        "lora_alpha": alpha,
        "use_rslora": False,
        "lora_dropout": usual.dropout,
        "rank_pattern": {re.escape(name): rank for name, (rank, _) in odd.items()},
        "alpha_pattern": {re.escape(name): one for name, (_, one) in odd.items()},
        "fan_in_fan_out": family.transposed,
        "target_modules": _targets(ranks, layers),
    }
    return told, tensors


def _parts(
    weights: Mapping[str, Tensor], shapes: Mapping[str, LowRank], held: Sequence[Held], config: ModelConfig
) -> Iterator[tuple[Held, Tensor, Tensor]]:
    """Of the products of a layer of theirs those that are adapted, each with its A [R, I] and B [O, R]."""
    for one in held:
        shape = shapes.get(one.layer)
        if shape is None or one.product not in shape.products:
            continue
        number, rows = shape.products.index(one.product), _rows_of(one.layer, config)
        lengths = [len(rows[product]) for product in shape.products]
        a, b = weights[f"{one.layer}.lora_a"].split(shape.rank), weights[f"{one.layer}.lora_b"].split(lengths)
        yield one, a[number], b[number]


def _rows_of(layer: str, config: ModelConfig) -> dict[str, range]:
    """{product: its rows} of one of our layers."""
    return product_rows(config, crosses=layer.startswith("decoder."))[layer.split(".", 3)[3]]


def _targets(ranks: Mapping[str, Any], layers: Mapping[str, Any]) -> list[str] | str:
    """Which modules peft adapts: by the ends of their names where no other module has such an end, else by an
    expression for whole names."""
    ends = sorted({name.rpartition(".")[2] for name in ranks})
    others = {name.rpartition(".")[2] for name in layers.keys() - ranks.keys()}
    if "dense" not in ends and not others & {*ends}:
        return ends
    numbered = sorted({re.sub(r"\\\.\d+\\\.", r"\\.\\d+\\.", re.escape(name)) for name in ranks})
    return "|".join(numbered)


def from_peft(
    tensors: Mapping[str, Tensor], told: Mapping[str, Any], *, config: ModelConfig, family: Family
) -> tuple[dict[str, LowRank], dict[str, Tensor]]:
    """The other way round: {layer of ours: what is added to it}, and the weights by our names.

    Args:
        tensors: {their name, as `spelt_as` gives it, without `BEFORE`: tensor}.
        told: what adapter_config.json says.

    Raises:
        ModelError: a field or a layer that is not computed here, or a tensor that does not fit.
    """
    for field, values in REFUSED.items():
        if (value := told.get(field, values[0])) not in values:
            raise ModelError(f"adapter_config.json: {field} is {value!r}; Bothways computes {values[0]!r} alone")
    layers = their_layers(config, family)
    given: dict[str, dict[str, tuple[Tensor, Tensor, float]]] = {}
    for name, a in tensors.items():
        theirs, _, kind = name.partition(".lora_A.")
        if not kind:
            continue
        b = tensors.get(f"{theirs}.lora_B.{kind}")
        if theirs not in layers or b is None:
            raise ModelError(
                f"the adapter holds {name}, on a layer that Bothways adapts not: expected those of attention and of "
                f"feed-forward networks, as {next(iter(layers))}"
            )
        rank, alpha = (_pattern(told, key, theirs) for key in ("r", "lora_alpha"))
        scale = alpha / (rank**0.5 if told.get("use_rslora") else rank)
        if (len(b), b.shape[1]) != (sum(one.rows for one in layers[theirs]), len(a)) or len(a) != rank:
            raise ModelError(f"{name} has shape {list(a.shape)} beside {list(b.shape)}: not of this model")
        for one, part in zip(layers[theirs], b.split([one.rows for one in layers[theirs]]), strict=True):
            given.setdefault(one.layer, {})[one.product] = (a, part, scale)
    return _laid(given, config)


def _pattern(told: Mapping[str, Any], key: str, name: str) -> float:
    """Rank or alpha of a layer: what a pattern says of it, else what is said of all."""
    patterns = told.get({"r": "rank_pattern", "lora_alpha": "alpha_pattern"}[key]) or {}
    found = next((value for pattern, value in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", name)), None)
    return float(told.get(key, 8) if found is None else found)


def _laid(
    given: Mapping[str, Mapping[str, tuple[Tensor, Tensor, float]]], config: ModelConfig
) -> tuple[dict[str, LowRank], dict[str, Tensor]]:
    """Those of one layer together: of one rank and one scale, the greatest; narrower ones are filled up with zeros."""
    shapes: dict[str, LowRank] = {}
    weights: dict[str, Tensor] = {}
    for layer, products in given.items():
        order = [one for one in _rows_of(layer, config) if one in products]
        parts = [products[one] for one in order]
        rank, scale = max(len(a) for a, _, _ in parts), parts[0][2]
        narrow = [F.pad(a.float(), (0, 0, 0, rank - len(a))) for a, _, _ in parts]
        wide = [F.pad(b.float() * (own / scale), (0, rank - len(a))) for a, b, own in parts]
        weights |= {f"{layer}.lora_a": torch.cat(narrow), f"{layer}.lora_b": torch.cat(wide)}
        shapes[layer] = LowRank(tuple(order), rank, scale)
    return shapes, weights
