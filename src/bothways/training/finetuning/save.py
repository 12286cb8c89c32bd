"""Where a body is found, and how a fine-tuned model is written: a folder that transformers' class loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from bothways.errors import ModelError
from bothways.inference.loading import folder_of
from bothways.model import Abilities, ModelConfig, local, read_abilities, save_faces
from bothways.model.huggingface.card import finetuned_card, multitask_card, writer_card
from bothways.text import Tokenizer
from bothways.text.tokenizer import Template
from bothways.training.finetuning.adapting import write_adapter
from bothways.training.finetuning.config import FinetuneConfig, LearningSettings
from bothways.training.run_folder import RunFolder
from bothways.visibility import ordered


def find_body(model: str, reads: str | None) -> tuple[Path, str]:
    """The folder to go on from, and how it reads.

    Raises:
        ModelError: there is none, or it was not taught to read that way.
    """
    found = local(model)
    folder = found / reads if reads and (found / reads / "config.json").is_file() else folder_of(found)
    trained = read_abilities(folder)
    taught = [face for face in ("encoder", "decoder") if face in trained.faces]
    if trained.reads == "left to right":  # a body that predicts no words
        taught = taught or ["decoder"]
    if "seq2seq" in trained.decoding:
        taught = ["encoder"]
    if not taught:
        raise ModelError(f"{folder} reads in a way of its own ({trained.objective}): it has no face to fine-tune")
    if trained.rule != ordered.name:
        raise ModelError(
            f"{folder} was trained under a rule of visibility of its own, {trained.rule}, which no class of "
            "transformers has: what it would be fine-tuned to could not be saved"
        )
    if reads and reads not in taught:
        raise ModelError(f"{folder} was not taught to read as a {reads}; it is: {', '.join(taught)}")
    return folder, reads or taught[0]


def save_model(
    config: LearningSettings,
    weights: Mapping[str, Tensor],
    shape: ModelConfig,
    tokenizer: Tokenizer,
    trained: Abilities,
    *,
    length: int,
    dev: Mapping[str, float],
) -> Path:
    """Writes `model/` into the run's folder, or `adapter/` where that was learned, with one head or several that have
    names of their own; `dev` holds the scores that it was chosen by, `length` what it reads."""
    if config.adapter:
        noted = RunFolder(config.out).noted("adapter")
        return write_adapter(config, weights, shape, tokenizer, trained, noted=noted, length=length)
    head, name, vocabulary = trained.only_head, config.out.resolve().name, tokenizer.vocabulary
    framed = head and head.writes and (head.writes.before, head.writes.behind) == ((vocabulary.cls,), (vocabulary.sep,))
    template: Template = "encoder" if framed else "own"  # what transformers puts around a source

    def card(face: str) -> str:
        if trained.writer:
            return writer_card(name, shape, trained, face, model=config.model, dev=dev)
        if head and isinstance(config, FinetuneConfig):
            return finetuned_card(name, shape, head, model=config.model, dev=dev)
        return multitask_card(name, shape, [*trained.heads.values()], model=config.model, dev=dev)

    (folder,) = save_faces(
        config.out,
        weights=weights,
        config=shape,
        vocabulary=vocabulary,
        trained=trained,
        save_tokenizer=lambda folder, face: tokenizer.save(
            folder, template=template, length=length, segments=shape.segments > 1
        ),
        card=card,
    )
    return folder
