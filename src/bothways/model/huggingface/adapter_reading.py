"""An adapter read from a folder, ours or peft's, and put on its base."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from bothways.errors import ModelError, UsageError
from bothways.model.abilities import Abilities
from bothways.model.adapters.config import read_adapter
from bothways.model.adapters.placing import is_added, place, place_low_rank, sharing
from bothways.model.heads.words import LMHead
from bothways.model.huggingface.adapter_folders import (
    ADAPTER_WEIGHTS,
    NOTED,
    PEFT,
    AdapterNote,
    fingerprint,
    is_adapter,
    read_note,
)
from bothways.model.huggingface.contents import holds_model, read_file
from bothways.model.huggingface.families import family_for
from bothways.model.huggingface.family import Family
from bothways.model.huggingface.folders import HEADS, Saved, read_body, read_saved
from bothways.model.huggingface.halves import encoder_shape, encoder_weights
from bothways.model.huggingface.hub import local
from bothways.model.huggingface.peft_lora import BEFORE, from_peft
from bothways.model.huggingface.peft_prompts import prompt_from_peft
from bothways.model.huggingface.weight_names import head_among, of_head, spelt
from bothways.model.model import Model
from bothways.reading import read_json
from bothways.sums import unchanged
from bothways.visibility import named


def read_adapted(folder: Path, *, vocabulary: int) -> Saved:
    """The base of an adapter with the adapter on it, float32, on the CPU; `vocabulary`: tokens of its tokenizer.

    Raises:
        ModelError: the adapter or its base is not there or damaged, or they do not belong together.
    """
    with unchanged(folder, weights=False):  # those by `with_adapter`
        return _read_adapted(folder, vocabulary)


def _read_adapted(folder: Path, vocabulary: int) -> Saved:
    note = read_note(folder)
    base = base_of(folder)
    if note is None:
        return with_adapter(read_saved(base), folder, vocabulary=vocabulary)
    trained = _abilities(folder)
    heads = [*trained.new_heads.values()]
    if heads and not trained.writers:
        return with_adapter(Saved(read_body(base, *heads), trained), folder, vocabulary=vocabulary)
    return with_adapter(Saved(read_saved(base).model, trained), folder, vocabulary=vocabulary)


def base_of(folder: Path) -> Path:
    """The folder of an adapter's base, by what is noted there.

    Raises:
        ModelError: it is not there.
    """
    note = read_note(folder)
    told = note.base if note else read_json(folder / PEFT, dict, error=ModelError).get("base_model_name_or_path")
    if not told:
        raise _without_base(folder, f"a base that {PEFT} does not name (base_model_name_or_path is {told!r})")
    for place_ in (Path(str(told)), folder / str(told)):
        if holds_model(place_):
            return place_
    found = local(str(told))
    if not holds_model(found):
        raise _without_base(folder, f"{told}, which is not there")
    return found


def _without_base(folder: Path, what: str) -> ModelError:
    return ModelError(
        f"{folder} is an adapter of {what}. Open its base, and name the adapter: "
        f"bothways.load(BASE, adapters={{'mine': '{folder}'}})"
    )


def with_adapter(base: Saved, folder: Path, *, vocabulary: int, called: str = "") -> Saved:
    """The model with the adapter of a folder, which shares all other weights with its base; the base stays as it is.

    Args:
        vocabulary: the tokens of the base's tokenizer, behind which those of a soft prompt are numbered.
        called: the adapter, in a message.

    Raises:
        ModelError: no adapter there, or one of another base, of what is not computed here, or on a base with one.
    """
    called = called or f"the adapter {folder}"
    if not is_adapter(folder):
        raise ModelError(f"{called}: expected a folder with {ADAPTER_WEIGHTS}, which is not there")
    if any(is_added(name) for name in base.model.state_dict()):
        raise ModelError(
            f"{called}: expected a base without an adapter, got one that has an adapter already. Open the base of "
            "both, and name both"
        )
    with unchanged(folder):
        note = read_note(folder)
        trained = _abilities(folder) if note else base.trained
        if note:
            if trained.new_heads and not trained.writers:
                base = Saved(_encoder_of(base.model), base.trained)
            _check_base(base.model, note, called)
        try:
            return Saved(_adapted(base, folder, trained, note, vocabulary), trained)
        except (ModelError, UsageError) as error:
            raise ModelError(f"{called}: {error}") from None


def _encoder_of(model: Model) -> Model:
    """What a head is fine-tuned on: of an encoder-decoder the encoder, of the very same weights; else the model."""
    whole = model.config
    if whole.decoder is None or not whole.classic:  # of other shapes none is fine-tuned
        return model
    found = Model(encoder_shape(whole.model_copy(update={"word_head": "tied"})))
    found.load_state_dict(encoder_weights(model.state_dict(), whole))
    own = dict(found.named_parameters())
    for name, weight in model.named_parameters():
        if name in own and torch.equal(own[name], weight):  # not a table that was scaled
            before, _, last = name.rpartition(".")
            setattr(found.get_submodule(before), last, weight)
    return found.train(model.training)


def _check_base(model: Model, note: AdapterNote, called: str) -> None:
    if note.sha256 != (own := fingerprint(model)):
        raise ModelError(
            f"{called} belongs to another base: to {note.base}, whose weights have the SHA-256 {note.sha256[:12]}, and "
            f"this model's have {own[:12]}. Open it on that base"
        )


def _adapted(base: Saved, folder: Path, trained: Abilities, note: AdapterNote | None, vocabulary: int) -> Model:
    tensors = read_file(folder / ADAPTER_WEIGHTS)
    heads = read_file(folder / HEADS) if (folder / HEADS).is_file() else {}
    if not (folder / PEFT).is_file():
        if note is None:
            raise ModelError(f"expected {PEFT} or {NOTED} beside its weights, found neither")
        model = _as_trained(base.model, tensors | heads, trained)
        place(model, read_adapter(note.expression), vocabulary=vocabulary)
        return _filled(model, tensors | heads)
    told, config = read_json(folder / PEFT, dict, error=ModelError), base.model.config
    if told.get("peft_type") != "LORA":
        adapter, weights = prompt_from_peft(tensors, told, config)
        model = _as_trained(base.model, {}, trained) if note else sharing(base.model)
        return _filled(place(model, adapter, vocabulary=vocabulary), weights)
    family = family_for(config, next(iter(trained.folders.values())))
    tensors = _spelt(tensors, family)
    shapes, weights = from_peft(tensors, told, config=config, family=family)
    weights |= heads if note else _their_head(base, tensors, told, family)
    own = base.model.state_dict().keys() & weights.keys()
    model = _as_trained(base.model, weights, trained) if note else sharing(base.model, own)
    place_low_rank(model, shapes)
    return _filled(model, weights)


def _spelt(tensors: Mapping[str, Tensor], family: Family) -> dict[str, Tensor]:
    """Without what peft puts before the names, with the prefix of the family's bodies."""
    return spelt({name.removeprefix(BEFORE): tensor for name, tensor in tensors.items()}, family)


def _their_head(
    base: Saved, tensors: Mapping[str, Tensor], told: Mapping[str, object], family: Family
) -> dict[str, Tensor]:
    """What an adapter of others holds for the head of its base.

    Raises:
        ModelError: a head that the base has not, or anything else that is not added to products.
    """
    wanted = {
        name: weight
        for name, weight in base.model.state_dict().items()
        if name.startswith("heads.") and name.split(".")[1] in family.heads
    }
    found = head_among(tensors, family, wanted=wanted) if wanted else {}
    if told.get("modules_to_save") and not found:
        raise ModelError(
            f"it brings what its base has no place for ({told['modules_to_save']}): open it on a base with such a head"
        )
    known = {of_head(name, family) for name in found}
    odd = [name for name in tensors if ".lora_A." not in name and ".lora_B." not in name and name not in known]
    if odd:
        raise ModelError(
            f"the adapter holds {odd[0]}, which is no part of a product of attention or of a feed-forward network, nor "
            "of the head of its base: Bothways does not compute it"
        )
    return found


def _as_trained(model: Model, weights: Mapping[str, Tensor], trained: Abilities) -> Model:
    """The model with places of its own for these weights, under the rule and the heads that an adapter of ours was
    trained with, whatever those of its base are."""
    found = sharing(model, model.state_dict().keys() & weights.keys())
    found.rule = named(trained.rule)
    made = {head.name: head.factory(model.config) for head in trained.new_heads.values()}
    found.heads = nn.ModuleDict(made)
    kind = "transformed" if "words.bias" in weights else "untied" if "words.untied.weight" in weights else None
    if kind not in (None, model.config.word_head):  # the base predicts no tokens
        found.config = model.config.model_copy(update={"word_head": kind})
        found.words = LMHead(found.config)
    return found.train(model.training)


@torch.no_grad()
def _filled(model: Model, weights: Mapping[str, Tensor]) -> Model:
    """
    Raises:
        ModelError: a weight that the model has no place for, or of another shape.
    """
    places = dict(model.named_parameters())
    for name, weight in weights.items():
        own = places.get(name)
        if own is None or own.shape != weight.shape:
            shape = "no such weight" if own is None else list(own.shape)
            raise ModelError(f"it holds {name} of shape {list(weight.shape)}; the model has {shape}")
        own.copy_(weight)
    return model


def _abilities(folder: Path) -> Abilities:
    return Abilities.from_json(read_json(folder / NOTED, dict, error=ModelError))
