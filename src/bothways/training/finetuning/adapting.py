"""Fine-tuning a small thing on a frozen model: an adapter instead of all weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bothways.errors import UsageError
from bothways.inference.loading import folder_of
from bothways.model import Abilities, Model, ModelConfig, local, read_saved
from bothways.model.adapters import SoftPromptConfig, check_fits, learned, place, read_adapter
from bothways.model.huggingface.adapter_folders import AdapterNote, fingerprint, save_adapter
from bothways.model.huggingface.card import adapter_card
from bothways.model.huggingface.families import family_for
from bothways.text import Tokenizer
from bothways.training.finetuning.config import LearningSettings

NOT_BESIDE = ("layer_decay", "encoder_rate", "decoder_layers")
"""Settings of runs that change a whole model."""


def tokenizer_for(config: LearningSettings, folder: Path) -> Tokenizer:
    """The tokenizer of a model that is to be fine-tuned, with the tokens of a soft prompt before every text."""
    tokenizer = Tokenizer.load(folder)
    adapter = read_adapter(config.adapter) if config.adapter else None
    return tokenizer.behind_prompt(adapter.tokens) if isinstance(adapter, SoftPromptConfig) else tokenizer


def adapt(config: LearningSettings, model: Model, *, tokenizer: Tokenizer, trained: Abilities) -> dict[str, Any]:
    """Puts the adapter of the settings into a model and freezes the rest, but for what the base has not: new heads
    learn whole. What manifest.json says of it.

    Raises:
        UsageError: an adapter that there is not, or that the model has no place for, or settings of whole models.
        ModelError: a shape that transformers has no class for.
    """
    assert config.adapter is not None
    adapter = read_adapter(config.adapter)
    fields = LearningSettings.model_fields
    if odd := next((name for name in NOT_BESIDE if getattr(config, name) != fields[name].get_default()), None):
        raise UsageError(
            f"{odd} is for fine-tuning a whole model, and --adapter learns beside a frozen one: leave it out"
        )
    family_for(model.config, next(iter(trained.folders.values())))
    causal = trained.folders.get("model", "").startswith("decoder")
    check_fits(model, adapter, causal=causal)
    base = folder_of(local(config.model))
    own = read_saved(base).model
    known = {name for name in model.state_dict() if name.startswith("backbone.") or name in own.state_dict()}
    new = {name for name in model.state_dict() if name not in known or name.startswith("heads.")}
    if odd := next((name for name in new if not name.startswith(("heads.", "words."))), None):
        raise UsageError(
            f"{config.model} has no decoder, so that most of an encoder-decoder would be new ({odd}) and has to learn "
            "whole: leave --adapter out, or take --objective causal or prefix"
        )
    sha256 = fingerprint(model)
    prompt = len(tokenizer.prompt)
    place(
        model,
        adapter,
        vocabulary=tokenizer.vocabulary.size - prompt,
        generator=torch.Generator().manual_seed(config.seed),
    )
    names = learned(model, adapter, new)
    weights = dict(model.named_parameters())
    numbers, beside = (sum(weights[name].numel() for name in some if name in weights) for some in (names, new))
    shown = str(base.resolve()) if base == Path(config.model) or Path(config.model).exists() else config.model
    return {
        "expression": str(adapter),
        "base": shown,
        "sha256": sha256,
        "parameters": numbers,
        "new_head_parameters": beside,
        "of": model.parameter_count() - numbers - beside,
    }


def write_adapter(
    config: LearningSettings,
    weights: Mapping[str, Tensor],
    shape: ModelConfig,
    tokenizer: Tokenizer,
    trained: Abilities,
    *,
    noted: Mapping[str, Any],
    length: int,
) -> Path:
    """The folder `adapter/` of a run; `noted` is what `adapt` said of it."""

    def beside(folder: Path) -> None:
        tokenizer.save(folder, template="own", length=length, segments=shape.segments > 1)
        card = adapter_card(config.out.resolve().name, noted, [head.task for head in trained.heads.values()])
        (folder / "README.md").write_text(card, encoding="utf-8")

    note = AdapterNote(noted["expression"], noted["base"], noted["sha256"])
    return save_adapter(
        config.out / "adapter", weights=weights, config=shape, note=note, trained=trained, beside=beside
    )
