"""Where adapters sit in a model, and what of it learns.

Letters: D width, L layers, G key heads, E head width, P tokens of a prefix or a prompt.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bothways.errors import UsageError
from bothways.model.adapters.config import (
    PRODUCTS,
    AdapterConfig,
    BiasConfig,
    LoraConfig,
    NormsConfig,
    PrefixConfig,
    SoftPromptConfig,
)
from bothways.model.adapters.low_rank import LoraLinear
from bothways.model.adapters.prefix import Prefix
from bothways.model.block import RMSNorm
from bothways.model.config import ModelConfig
from bothways.model.model import Model


def product_rows(config: ModelConfig, *, crosses: bool) -> dict[str, dict[str, range]]:
    """{linear layer of a block: {product: its rows of the layer}}; `crosses`: of a decoder's block."""
    queries, keys, _ = config.qkv_widths
    together = {
        "q": range(queries),
        "k": range(queries, queries + keys),
        "v": range(queries + keys, queries + 2 * keys),
    }
    found = {"attention.qkv": together, "attention.out": {"out": range(config.width)}}
    if crosses:
        found |= {
            "cross_attention.q": {"q": range(queries)},
            "cross_attention.kv": {"k": range(keys), "v": range(keys, 2 * keys)},
            "cross_attention.out": {"out": range(config.width)},
        }
    wide = {"gate": range(config.inner)} if config.feed_forward.gated else {}
    return (
        found
        | {name: {name: rows} for name, rows in (wide | {"up": range(config.inner)}).items()}
        | {"down": {"down": range(config.width)}}
    )


def linear_layers(config: ModelConfig) -> Iterator[tuple[str, dict[str, range]]]:
    """The name of every linear layer of the blocks, and the rows of its products."""
    for side, count in (("backbone", config.layers), ("decoder", config.decoder.layers if config.decoder else 0)):
        inside = product_rows(config, crosses=side == "decoder")
        for number in range(count):
            yield from ((f"{side}.blocks.{number}.{name}", rows) for name, rows in inside.items())


def check_fits(model: Model, adapter: AdapterConfig, *, causal: bool) -> None:
    """
    Args:
        causal: the model reads from left to right.

    Raises:
        UsageError: the model has no place for such an adapter.
    """
    if isinstance(adapter, LoraConfig):
        known = {product for _, rows in linear_layers(model.config) for product in rows}
        if odd := [product for product in adapter.on or () if product not in known]:
            left = [product for product in PRODUCTS if product in known]
            raise UsageError(
                f"adapter {adapter}: this model has no product {odd[0]!r} (its feed-forward network has no gate); it "
                f"has {', '.join(left)}"
            )
        if adapter.rank > model.config.width:
            raise UsageError(
                f"adapter {adapter}: expected a rank of at most {model.config.width}, the width of the model, "
                f"got {adapter.rank}"
            )
    if isinstance(adapter, BiasConfig) and not any(_is_bias(name) for name, _ in _body(model)):
        raise UsageError(f"adapter {adapter}: this model has no biases: take norms, which are as few, or lora(rank=1)")
    if isinstance(adapter, PrefixConfig) and (not causal or model.decoder is not None):
        reads = "is an encoder-decoder" if model.decoder is not None else "reads from all sides"
        raise UsageError(
            f"adapter {adapter}: a prefix is for models that read from left to right, and this one {reads}: take "
            f"soft_prompt(tokens={adapter.tokens}), or lora"
        )
    if isinstance(adapter, SoftPromptConfig) and adapter.tokens > model.config.length // 2:
        raise UsageError(
            f"adapter {adapter}: it takes more than half of the {model.config.length} tokens that the model reads"
        )


def place(model: Model, adapter: AdapterConfig, *, vocabulary: int, generator: torch.Generator | None = None) -> Model:
    """Puts an adapter into a model, in place, and returns it; all of the model's own weights keep their names.

    Args:
        vocabulary: the tokenizer's tokens; those of a soft prompt are numbered behind them.
        generator: what the adapter begins with; None: it is to be read, and has no numbers yet.
    """
    if isinstance(adapter, LoraConfig):
        place_low_rank(model, shapes_of(model.config, adapter), generator=generator)
    elif isinstance(adapter, SoftPromptConfig):
        table = model.table
        prompt = table.new_zeros(adapter.tokens, table.shape[1])
        if generator is not None:
            drawn = torch.randint(vocabulary, (adapter.tokens,), generator=generator)
            prompt = table.detach()[drawn.to(table.device)].clone()
        model.backbone.embeddings.prompt = nn.Parameter(prompt)
        model.backbone.embeddings.vocabulary = vocabulary
    elif isinstance(adapter, PrefixConfig):
        model.backbone.prefix = Prefix(model.config, adapter, like=model.table, generator=generator)
    return model


@dataclass(frozen=True, slots=True)
class LowRank:
    """What is added to one linear layer: the products of it that are adapted, and the rest as in `LoraLinear`."""

    products: tuple[str, ...]
    rank: int
    scale: float
    dropout: float = 0.0


def shapes_of(config: ModelConfig, adapter: LoraConfig) -> dict[str, LowRank]:
    """{linear layer: what an adapter adds to it}."""
    on = {
        name: tuple(product for product in products if adapter.on is None or product in adapter.on)
        for name, products in linear_layers(config)
    }
    return {
        name: LowRank(products, adapter.rank, adapter.scale, adapter.dropout)
        for name, products in on.items()
        if products
    }


def place_low_rank(model: Model, shapes: Mapping[str, LowRank], *, generator: torch.Generator | None = None) -> None:
    """Puts low-rank products into the linear layers of these names; `generator` as in `place`."""
    layers = dict(linear_layers(model.config))
    for name, shape in shapes.items():
        before, _, last = name.rpartition(".")
        inside, linear = model.get_submodule(before), model.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        rows = [layers[name][product] for product in shape.products]
        made = LoraLinear(linear, rows, rank=shape.rank, scale=shape.scale, dropout=shape.dropout)
        if generator is not None:
            made.begin(generator)
        setattr(inside, last, made.train(linear.training))


def learned(model: Model, adapter: AdapterConfig, new: Collection[str]) -> list[str]:
    """Lets the adapter of a model learn, and what is `new` in it, by name, and freezes the rest; the names of the
    first."""
    found = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(of_adapter(model, adapter, name) or name in new)
        found += [name] if parameter.requires_grad and name not in new else []
    return found


def of_adapter(model: Model, adapter: AdapterConfig, name: str) -> bool:
    """Whether a weight is the adapter's, or one of the body's that it has of its own (norms, biases)."""
    if isinstance(adapter, NormsConfig):
        return name in {f"{one}.{field}" for one in _norms(model) for field in ("weight", "bias")}
    if isinstance(adapter, BiasConfig):
        return name.startswith(("backbone.", "decoder.")) and _is_bias(name)
    return is_added(name)


def is_added(name: str) -> bool:
    """Whether a weight is one that a model without an adapter has not."""
    return name.endswith((".lora_a", ".lora_b", "embeddings.prompt")) or name.startswith("backbone.prefix.")


def sharing(model: Model, own: Collection[str] = ()) -> Model:
    """The same model, whose modules are its own and whose weights are the very same, but for copies of `own`."""
    memo: dict[int, Any] = {id(weight): weight for name, weight in model.named_parameters() if name not in own}
    memo[id(model.rule)] = model.rule  # a copy is no longer `ordered`, by which faster paths are chosen
    found: Model = copy.deepcopy(model, memo)
    return found


def _body(model: Model) -> Iterator[tuple[str, Tensor]]:
    yield from ((name, one) for name, one in model.named_parameters() if name.startswith(("backbone.", "decoder.")))


def _norms(model: Model) -> list[str]:
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, RMSNorm | nn.LayerNorm) and name.startswith(("backbone.", "decoder."))
    ]


def _is_bias(name: str) -> bool:
    return name.endswith(".bias")
