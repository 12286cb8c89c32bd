"""Fine-tuning a small thing on a frozen model: an adapter instead of all weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bothways.errors import UsageError
from bothways.inference.loading import folder_of
from bothways.model import Abilities, Model, ModelConfig, local, planned, read_saved
from bothways.model.adapters import PrefixConfig, SoftPromptConfig, check_fits, learned, place, read_adapter
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


def check_adapter(config: LearningSettings, *, refers: bool = False) -> None:
    """Before anything is read; `refers`: the task compares the model with what it was.

    Raises:
        UsageError: an adapter that there is not, a setting of whole models beside one, or one that changes the model
            before anything is learned where the task refers to it.
    """
    if config.adapter is None:
        return
    adapter = read_adapter(config.adapter)
    if refers and isinstance(adapter, SoftPromptConfig | PrefixConfig):
        raise UsageError(
            f"the task compares the model with what it was, and a {adapter.name.replace('_', ' ')} changes it before "
            "anything is learned: take --adapter lora"
        )
    fields = LearningSettings.model_fields
    if odd := next((name for name in NOT_BESIDE if getattr(config, name) != fields[name].get_default()), None):
        raise UsageError(
            f"{odd} is for fine-tuning a whole model, and --adapter learns beside a frozen one: leave it out"
        )


def adapt(config: LearningSettings, model: Model, *, tokenizer: Tokenizer, trained: Abilities) -> dict[str, Any]:
    """Puts the adapter of the settings, if any, into a model and freezes the rest, but for what the base has not: new
    heads learn whole. Returns what manifest.json says of it: {"adapter": ...}, or nothing where there is no adapter.

    Raises:
        UsageError: the model has no place for it.
        ModelError: a shape that transformers has no class for.
    """
    if config.adapter is None:
        planned(model.state_dict(), config=model.config, vocabulary=tokenizer.vocabulary, trained=trained)
        return {}
    adapter = read_adapter(config.adapter)
    face = next(iter(trained.folders.values()))
    family_for(model.config, face)
    check_fits(model, adapter, causal=face.startswith("decoder"))
    base = _base(config.model, face)
    there = read_saved(base).model
    new = _new(model, there, config.model)
    sha256 = fingerprint(model)
    vocabulary = tokenizer.vocabulary.size - len(tokenizer.prompt)
    place(model, adapter, vocabulary=vocabulary, generator=torch.Generator().manual_seed(config.seed))
    names, weights = learned(model, adapter, new), dict(model.named_parameters())
    learns, beside = (sum(weights[name].numel() for name in some if name in weights) for some in (names, new))
    told = {
        "expression": str(adapter),
        "base": str(base.resolve()) if Path(config.model).exists() else config.model,
        "sha256": sha256,
        "parameters": learns,
        "new_head_parameters": beside,
        "of": model.parameter_count() - learns - beside,
        "of_encoder": there.decoder is not None and model.decoder is None,
    }
    return {"adapter": told}


def _base(model: str, face: str) -> Path:
    """The folder of the base that transformers opens for such a face, where a run has both."""
    found = local(model)
    causal = found / "decoder"
    return causal if face.startswith("decoder") and (causal / "config.json").is_file() else folder_of(found)


def _new(model: Model, base: Model, called: str) -> set[str]:
    """The weights of a model that its base has not: heads.

    Raises:
        UsageError: most of a decoder is among them.
    """
    there = base.state_dict()
    new = {name for name in model.state_dict() if name.startswith("heads.") or name not in there}
    if odd := next((name for name in sorted(new) if name.startswith("decoder.")), None):
        raise UsageError(
            f"{called} has no decoder, so that most of an encoder-decoder would be new ({odd}) and has to learn "
            "whole: leave --adapter out, or take --objective causal or prefix"
        )
    return {name for name in new if not name.startswith("backbone.")}


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
        config.out / "adapter",
        weights=weights,
        config=shape,
        note=note,
        trained=trained,
        beside=beside,
        peft=not noted.get("of_encoder"),  # peft would look for its modules in the whole
    )
