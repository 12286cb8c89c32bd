"""Adapters as settings write them: "lora(rank=8, on=[q, v])", "soft_prompt(tokens=20)", "prefix", "norms", "bias"."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field, field_validator

from bothways.calls import NAME, read_arguments
from bothways.config import Frozen, read
from bothways.errors import UsageError, unknown

PRODUCTS = ("q", "k", "v", "out", "gate", "up", "down")
"""The matrices of a block that low-rank products may be added to, of attention and of the feed-forward network; the
cross-attention of a decoder has the first four, too. Never the table of tokens: a head that is tied to it stays as it
is, whatever is merged."""


class AdapterConfig(Frozen):
    """One of `ADAPTERS`; `rate` is by how much faster than a whole model it learns, if no learning rate is given."""

    name: ClassVar[str]
    rate: ClassVar[float] = 10.0

    def __str__(self) -> str:
        given = {key: getattr(self, key) for key in type(self).model_fields if key in self.model_fields_set}
        inside = ", ".join(f"{key}={_written(value)}" for key, value in given.items())
        return f"{self.name}({inside})" if inside else self.name


class LoraConfig(AdapterConfig):
    """Products of two narrow matrices, added to those of the model (Hu et al. 2021): W x + scale B A x.

    A begins uniform as a linear layer does, B at zero, so that the model begins as it was.
    """

    name = "lora"
    rank: int = Field(default=8, ge=1, description="width of the narrow matrices")
    alpha: float | None = Field(default=None, gt=0, description="the scale times the rank; left out: twice the rank")
    on: tuple[str, ...] | None = Field(default=None, min_length=1, description="of PRODUCTS; left out: all there are")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of what A reads that is dropped in training")
    rslora: bool = Field(
        default=False, description="the scale is alpha / sqrt(rank) (Kalajdzievski 2023) instead of alpha / rank"
    )

    @field_validator("on", mode="before")
    @classmethod
    def _known(cls, on: object) -> tuple[str, ...] | None:
        if on is not None and (not isinstance(on, tuple | list) or not on):
            raise ValueError(f"expected a list of products, as [q, v], out of {', '.join(PRODUCTS)}; got {on!s}")
        for one in on or ():
            if one not in PRODUCTS:
                raise unknown("product", one, PRODUCTS)
        return on and tuple(one for one in PRODUCTS if one in on)

    @property
    def scale(self) -> float:
        """What the product of the narrow matrices is multiplied with."""
        alpha = 2.0 * self.rank if self.alpha is None else self.alpha
        return alpha / (self.rank**0.5 if self.rslora else self.rank)


class SoftPromptConfig(AdapterConfig):
    """Learned embeddings before every text (Lester et al. 2021); they begin as those of tokens drawn at random."""

    name = "soft_prompt"
    rate = 100.0
    tokens: int = Field(default=20, ge=1, description="how many; each is one token of what the model reads")


class PrefixConfig(AdapterConfig):
    """Learned keys and values of every layer, which all tokens see (Li & Liang 2021); they have no place in the text.

    While they learn, they are made of narrow embeddings by two layers with a tanh between them (their section 4.3), and
    the second layer begins at a tenth of the usual size; saved are the keys and values.
    """

    name = "prefix"
    tokens: int = Field(default=10, ge=1, description="keys and values of a layer")
    hidden: int | None = Field(default=None, ge=1, description="width between the two layers; left out, the model's")


class NormsConfig(AdapterConfig):
    """The weights of norms, and their biases where they have any (Frankle et al. 2021; Zhao et al. 2024)."""

    name = "norms"


class BiasConfig(AdapterConfig):
    """The biases (BitFit, Ben Zaken et al. 2022)."""

    name = "bias"


ADAPTERS: dict[str, type[AdapterConfig]] = {
    kind.name: kind for kind in (LoraConfig, SoftPromptConfig, PrefixConfig, NormsConfig, BiasConfig)
}
_CALL = re.compile(rf"\s*(?P<name>{NAME})\s*(?:\((?P<inside>[^()]*)\)\s*)?")


def read_adapter(expression: str) -> AdapterConfig:
    """The adapter that an expression names.

    Raises:
        UsageError: it cannot be read, or an adapter, an argument or a value that there is not.
    """

    def unreadable(part: str, expected: str) -> UsageError:
        return UsageError(
            f"cannot read {part.strip()!r} in the adapter {expression!r}: expected {expected}; for example "
            '"lora", "lora(rank=8, on=[q, v])" or "soft_prompt(tokens=20)"'
        )

    found = _CALL.fullmatch(expression)
    if found is None:
        raise unreadable(expression, "name or name(key=value, ...)")
    if found["name"] not in ADAPTERS:
        raise unknown("adapter", found["name"], ADAPTERS)
    kind = ADAPTERS[found["name"]]
    values = read_arguments(found["inside"] or "", unreadable)
    for key in values:
        if key not in kind.model_fields:
            raise unknown(f"argument of {kind.name}", key, kind.model_fields)
    whole = {
        key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in values.items()
    }
    return read(kind, whole, below=f"adapter {kind.name}")


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
