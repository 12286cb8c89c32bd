"""The settings of `bothways pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from bothways.config import AsText, Frozen, read
from bothways.model import ModelConfig, preset
from bothways.model.config import SIZES, Shape
from bothways.training.config import TrainingConfig

STEP_TOKENS = {"tiny": 2048, "mini": 4096, "small": 8192, "base": 16384}
"""Tokens in a step by size: tiny and mini by trial (docs/results.md), the others, never trained here, after them."""
STEP_TOKENS_FROM = 8192
"""Of a run that goes on from a model, whatever its size: with these that was measured (docs/results.md)."""


def step_tokens_for(size: str) -> int:
    """Those of the narrowest preset that is as wide."""
    _, _, width = size.partition("x")
    wide = int(width) if width.isdecimal() else SIZES.get(size, SIZES["tiny"])[1]
    return next((tokens for name, tokens in STEP_TOKENS.items() if SIZES[name][1] >= wide), STEP_TOKENS["base"])


class PretrainConfig(Frozen):
    """What `bothways pretrain` does."""

    shards: Path = Field(description="A folder that prepare made.")
    out: Path = Field(description="The run's folder.")
    objective: str = Field(
        default="hybrid", description='A name of `bothways objectives`, or "1/2 causal + 1/2 mlm(rate=0.3)".'
    )
    size: str = Field(
        default="tiny", description="tiny, mini, small, base, or LAYERSxWIDTH: 6x192; the model's own with --from."
    )
    model: dict[str, Any] = Field(default={}, description="Fields of the model that differ from the size's.")
    code: tuple[Path, ...] = Field(default=(), description="A Python file with objectives of your own.")
    start: Annotated[str | None, AsText] = Field(
        default=None, description="Go on from a run, a Hugging Face folder, a name of its hub, or a GGUF file."
    )
    start_decoder: Annotated[str | None, AsText] = Field(
        default=None, description="Of an encoder-decoder: the model that its decoder begins as; left out, it is new."
    )
    replay: Path | None = Field(
        default=None, description="Other shards of the same tokenizer, of which rows are mixed in."
    )
    replay_share: float = Field(default=0.1, gt=0, lt=1, description="Of the rows.")
    training: TrainingConfig = Field(default=TrainingConfig(), description="Everything else.")

    @model_validator(mode="before")
    @classmethod
    def _fill_step_tokens(cls, values: Any) -> Any:
        """A step as large as the size wants, or a model to go on from, unless it is given."""
        if not isinstance(values, dict):
            return values
        start, size = values.get("start"), str(values.get("size", "tiny"))
        tokens = STEP_TOKENS_FROM if start is not None else step_tokens_for(size)
        training = values.get("training", {})
        if isinstance(training, dict):
            return {**values, "training": {"step_tokens": tokens, **training}}
        if isinstance(training, TrainingConfig) and "step_tokens" not in training.model_fields_set:
            return {**values, "training": training.model_copy(update={"step_tokens": tokens})}
        return values

    def model_config_for(self, vocabulary: int) -> ModelConfig:
        """The model's shape: the preset with the changes of `model`."""
        # Another shape than these is refused where the record is made.
        shape: Shape = "classic" if self.model.get("shape") == "classic" else "modern"
        base = preset(self.size, vocabulary=vocabulary, length=self.training.length, shape=shape)
        return read(ModelConfig, {**base.model_dump(exclude_defaults=True), **self.model}, below="model")
