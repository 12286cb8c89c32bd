"""What a family calls our weights, by its tables, read both ways.

One of our matrices may be several of theirs, laid one under the other (q, k and v), or the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from bothways.errors import ModelError
from bothways.model.config import ModelConfig
from bothways.model.huggingface.family import Family, Half

Module = tuple[str, ...] | Half


TABLES_OF_PLACES = ("backbone.embeddings.positions", "decoder.embeddings.positions")


def modules(family: Family, layers: int, head: str = "words", *, decoder: int = 0) -> dict[str, Module]:
    """{our module: theirs} of a model with one head; `decoder`: blocks of a decoder."""
    found: dict[str, str | Module] = {
        ours: theirs for ours, theirs in family.modules.items() if head == "words" or not ours.startswith("words")
    }
    encoder = ("backbone", layers, family.blocks, family.block)
    for side, count, before, names in (encoder, ("decoder", decoder, family.decoder_blocks, family.decoder_block)):
        for number in range(count):
            inside = f"{before}.{number}."
            found |= {f"{side}.blocks.{number}.{ours}": _under(inside, theirs) for ours, theirs in names.items()}
    if head != "words":
        found |= {f"heads.{head}.{ours}": theirs for ours, theirs in family.heads.get(head, {}).items()}
    return {ours: (theirs,) if isinstance(theirs, str) else theirs for ours, theirs in found.items()}


def _under(prefix: str, theirs: str | Module) -> str | Module:
    if isinstance(theirs, str):
        return prefix + theirs
    if isinstance(theirs, Half):
        return replace(theirs, module=prefix + theirs.module)
    return tuple(prefix + one for one in theirs)


def predicts_tokens(tensors: Mapping[str, Tensor], family: Family) -> bool:
    """Whether a head that predicts tokens is among them, which is not the table itself."""
    names = {f"{family.modules.get('words')}.bias", f"{family.modules.get('words.untied')}.weight"}
    return bool(names & tensors.keys())


def to_hugging_face(
    weights: Mapping[str, Tensor], *, config: ModelConfig, family: Family, head: str = "words"
) -> dict[str, Tensor]:
    """{our name: weight} -> {their name: float32 weight on the CPU}: the body's and those of one head.

    Args:
        head: "words", or one of the model's heads.

    Raises:
        ModelError: a weight that has no name there.
    """
    names = modules(family, config.layers, head, decoder=config.decoder.layers if config.decoder else 0)
    wanted = ("backbone.", "decoder.", "words." if head == "words" else f"heads.{head}.")
    found: dict[str, Tensor] = {}
    halves: dict[str, dict[bool, Tensor]] = {}
    for name, weight in weights.items():
        module, _, field = name.rpartition(".")
        if not name.startswith(wanted):
            continue
        if module not in names:
            raise ModelError(f"{name} cannot be saved: {family.model_type} has no place for it")
        weight = weight.detach().float().cpu()
        weight = weight + family.norms if family.norms and module.endswith("norm") else weight
        if module in TABLES_OF_PLACES:
            weight = torch.cat([weight.new_zeros(family.positions, weight.shape[1]), weight])
        theirs = names[module]
        if isinstance(theirs, Half):
            halves.setdefault(f"{theirs.module}.{field}", {})[theirs.second] = weight
            continue
        lengths = {1: (len(weight),), 2: config.qkv_widths[1:], 3: config.qkv_widths}[len(theirs)]
        for other, part in zip(theirs, weight.split(lengths), strict=True):
            found[f"{other}.{field}"] = _turned(part, module, family).contiguous()
    found |= {name: torch.cat([both[False], both[True]]) for name, both in halves.items()}
    found |= {name: found[other].clone() for name, other in family.copies.items() if other in found}
    if "difference.weight" in found:
        row = found.pop("difference.weight")
        found |= {"classifier.weight": torch.cat([torch.zeros_like(row), row]), "classifier.bias": torch.zeros(2)}
    if head == "span" and family.prefix_of_span is not None:
        found = {name.replace(family.prefix, family.prefix_of_span, 1): weight for name, weight in found.items()}
    return found


def from_hugging_face_names(
    tensors: Mapping[str, Tensor], *, family: Family, wanted: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """{their name: tensor} -> {our name: float32 weight}, in the names and shapes of `wanted`.

    Heads that are not ours are left out; a tensor of the body that we have no place for is an error.

    Raises:
        ModelError: a tensor is missing, has another shape, or would be lost.
    """
    tensors = _one_logit(spelt(tensors, family))
    names = modules(family, _blocks(wanted, "backbone"), decoder=_blocks(wanted, "decoder"))
    for name in wanted:
        if name.startswith("heads."):
            names |= modules(family, 0, name.split(".")[1])
    result: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, like in wanted.items():
        module, _, field = name.rpartition(".")
        others = names[module]
        theirs = [f"{other}.{field}" for other in ((others.module,) if isinstance(others, Half) else others)]
        missing = [other for other in theirs if other not in tensors]
        if missing:
            raise ModelError(
                f"expected the tensor {missing[0]}, which is not there. Is config.json that of this model?"
            )
        weight = _read(names[module], [tensors[other] for other in theirs], module, family)
        if weight.shape != like.shape:
            shape, beside = list(tensors[theirs[0]].shape), "".join(f" and {other}" for other in theirs[1:])
            whole = f", {list(weight.shape)} with{beside[4:]}" if beside else ""
            raise ModelError(f"{theirs[0]} has shape {shape}{whole}; config.json says {list(like.shape)} for {name}")
        result[name] = weight
        used.update(theirs)
    _nothing_lost(tensors.keys() - used - family.copies.keys(), family)
    for name, other in family.copies.items():
        if name in tensors and not torch.equal(tensors[name], tensors[other]):
            raise ModelError(f"{name} differs from {other}; Bothways has one such table for both")
    for name, value in family.constant.items():
        if name in tensors and not (tensors[name] == value).all():
            raise ModelError(f"{name} holds other numbers than {value:g}, and Bothways has no place for them")
    return result


def _blocks(wanted: Mapping[str, Tensor], side: str) -> int:
    return 1 + max((int(name.split(".")[2]) for name in wanted if name.startswith(f"{side}.blocks.")), default=-1)


def _read(names: Module, theirs: list[Tensor], module: str, family: Family) -> Tensor:
    """One of our weights from the tensors that hold it."""
    weight = torch.cat([_turned(one, module, family) for one in theirs]).float()
    if isinstance(names, Half):
        return weight.chunk(2)[names.second]
    weight = weight - family.norms if family.norms and module.endswith("norm") else weight
    return weight[family.positions :] if module in TABLES_OF_PLACES else weight


def _turned(weight: Tensor, module: str, family: Family) -> Tensor:
    inside = module.startswith(("backbone.blocks.", "decoder.blocks."))
    return weight.T if family.transposed and inside and weight.dim() == 2 else weight


def untied(tensors: Mapping[str, Tensor], family: Family) -> tuple[str, str] | None:
    """A tensor of the word head and the one that it should be if word embeddings are tied, where they differ."""
    tensors = spelt(tensors, family)
    for name, same in family.tied.items():
        if name in tensors and same in tensors and not torch.equal(tensors[name], tensors[same]):
            return name, same
    return None


def head_among(tensors: Mapping[str, Tensor], family: Family, *, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those weights of one head, in our names, that are there in the shapes of `wanted`."""
    tensors = spelt(tensors, family)
    result = {}
    for name, like in wanted.items():
        found = tensors.get(of_head(name, family))
        if found is not None and found.shape == like.shape:
            result[name] = found.float()
    return result


def of_head(name: str, family: Family) -> str:
    """What a weight of a head is called there."""
    module, _, field = name.rpartition(".")
    return f"{family.heads[name.split('.')[1]][module.split('.', 2)[2]]}.{field}"


def spelt(tensors: Mapping[str, Tensor], family: Family) -> dict[str, Tensor]:
    """The body's prefix where it is left out; weight and bias of a norm where they are gamma and beta, as of old."""
    prefix, other = family.prefix, family.prefix_of_span
    if other is not None and any(name.startswith(other) for name in tensors):
        tensors = {name.replace(other, prefix, 1): tensor for name, tensor in tensors.items()}
    bare = not any(name.startswith(prefix) for name in tensors)
    found = {}
    for name, tensor in tensors.items():
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        found[prefix + name if bare else name] = tensor
    return found


def _one_logit(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A classifier of two rows as the difference between them: what a detector predicts."""
    rows = tensors.get("classifier.weight")
    return tensors if rows is None or len(rows) != 2 else {**tensors, "difference.weight": rows[1:] - rows[:1]}


def _nothing_lost(unread: set[str], family: Family) -> None:
    ignored = re.compile(re.escape(family.prefix) + "(" + "|".join(family.ignored) + ")|.*rotary_emb.inv_freq$")
    lost = sorted(name for name in unread if name.startswith(family.prefix) and not ignored.match(name))
    if lost:
        raise ModelError(f"the body holds {lost[0]}, which this shape has no place for ({len(lost)} such tensors)")
