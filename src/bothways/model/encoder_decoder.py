"""An encoder-decoder that begins with what models of one stack have learned.

The encoder's blocks are those of an encoder, the decoder's may be those of a decoder, cross-attention is new (Rothe et
al. 2020, section 2). A modern shape gets T5Gemma's post-norms, which it had not: each begins at the RMS of its
input, so that the output changes as little as it can.

Letters: B rows, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from operator import attrgetter

import torch
from torch import Tensor, nn

from bothways.errors import ModelError
from bothways.model.backbone import Backbone
from bothways.model.config import WITH_DECODER, DecoderConfig, ModelConfig
from bothways.visibility import Layout, ordered

TABLE = "backbone.embeddings.tokens.weight"
ROWS, LENGTH = 8, 64  # of random tokens, by which the size of what blocks add is measured


def with_decoder(shape: ModelConfig, layers: int | None = None) -> ModelConfig:
    """The shape with a decoder of so many layers beside it; left out, as many as it has.

    Raises:
        ModelError: no encoder-decoder in transformers has such blocks.
    """
    kind = "classic" if shape.classic else "modern"
    if shape.norm.kind != ("layer" if shape.classic else "rms") or shape.attention.window or shape.embedding_width:
        raise ModelError(
            "a model with these blocks cannot begin an encoder-decoder: expected those of BERT, or of what Bothways "
            "pretrains, Llama, EuroBERT"
        )
    more = WITH_DECODER[kind]
    norm = shape.norm.model_copy(update=dict(more["norm"]))
    own = {"decoder": DecoderConfig(layers=layers or shape.layers), "norm": norm, "segments": 0, "languages": 0}
    return shape.model_copy(update={**own, "scaled_embeddings": "scaled_embeddings" in more, "word_head": "tied"})


def init_encoder(weights: Mapping[str, Tensor], shape: ModelConfig, wanted: ModelConfig) -> dict[str, Tensor]:
    """Of a model of one stack, what its encoder-decoder `wanted` begins with: the backbone."""
    found = {name: weight for name, weight in weights.items() if name.startswith("backbone.")}
    if (segments := found.pop("backbone.embeddings.segments.weight", None)) is not None:
        found["backbone.embeddings.positions.weight"] = found["backbone.embeddings.positions.weight"] + segments[0]
    found.pop("backbone.embeddings.languages.weight", None)
    if wanted.norm.place == "both" != shape.norm.place:
        found |= {name: torch.full((shape.width,), size) for name, size in _sizes(found, shape).items()}
    if wanted.scaled_embeddings and not shape.scaled_embeddings:
        found[TABLE] = found[TABLE] / shape.width**0.5
    return found


def init_decoder(found: Mapping[str, Tensor], shape: ModelConfig, wanted: ModelConfig) -> dict[str, Tensor]:
    """What the decoder of `wanted` begins with, out of what `init_encoder` gives of a model of the same width: its
    blocks, evenly spread, its last norm, and its places and their norm, where it has them.

    Raises:
        ModelError: a model of another shape.
    """
    same = ["width", "heads", "key_heads", "head_width", "inner", "feed_forward", "positions.kind"]
    same += ["embedding_width", "attention.bias", "attention.head_norm", "attention.window"]
    same += ["length"] if wanted.positions.kind == "learned" else ["positions.base", "positions.scaling"]
    same += ["norm.kind", "norm.bias", "norm.embeddings", *([] if wanted.norm.place == "both" else ["norm.place"])]
    for name, read in ((name, attrgetter(name)) for name in same):
        if read(shape) != read(wanted):
            raise ModelError(
                f"a decoder begins with a model of the same shape: {name} is {read(shape)}, and {read(wanted)} in the "
                "encoder"
            )
    assert wanted.decoder is not None
    last, result = max(1, wanted.decoder.layers - 1), {}
    for name, weight in found.items():
        _, where, *rest = name.split(".")
        if where != "blocks" and name != TABLE:
            result[f"decoder.{'.'.join((where, *rest))}"] = weight
    for number in range(wanted.decoder.layers):
        taken = round(number * (shape.layers - 1) / last) if wanted.decoder.layers > 1 else 0
        before = f"backbone.blocks.{taken}."
        result |= {
            f"decoder.blocks.{number}.{name.removeprefix(before)}": weight
            for name, weight in found.items()
            if name.startswith(before)
        }
    return result


@torch.no_grad()
def _sizes(weights: Mapping[str, Tensor], shape: ModelConfig) -> dict[str, float]:
    """{name of a norm behind attention or a feed-forward network: the root mean square of what that adds}."""
    body = Backbone(shape)
    body.load_state_dict({name.removeprefix("backbone."): weight for name, weight in weights.items()})
    found: dict[str, float] = {}

    def note(name: str, module: nn.Module, given: tuple[Tensor, ...], added: Tensor) -> None:
        found[name] = float(added.pow(2).mean().sqrt())

    for number, block in enumerate(body.blocks):
        for part, module in (("attention", block.get_submodule("attention.out")), ("feed_forward", block.down)):
            assert isinstance(module, nn.Module)
            module.register_forward_hook(partial(note, f"backbone.blocks.{number}.{part}_after_norm.weight"))
    tokens = torch.randint(shape.vocabulary, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    zeros = torch.zeros_like(tokens, dtype=torch.int32)
    position = torch.arange(LENGTH, dtype=torch.int32).expand(ROWS, -1)
    layout = Layout(document=zeros, step=zeros, group=zeros, position=position)
    body.eval()(tokens, layout, ordered.dense(layout))
    return found
