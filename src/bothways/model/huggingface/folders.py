"""A saved model is a Hugging Face model folder: written without transformers, read by it with no code of ours.

    run/encoder/   config.json (EuroBertForMaskedLM)  model.safetensors --+
    run/decoder/   config.json (LlamaForCausalLM)     model.safetensors --+-- one file under two names

beside them in each: the tokenizer with the face's template, README.md (the model card), bothways.json (what the
objective taught), and what sentence-transformers or text generation want to know. An objective that gives neither
face leaves run/body/, and so does a body of others that reads from left to right and says no words.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from bothways.arguments import checked
from bothways.batch import Vocabulary
from bothways.errors import ModelError, UsageError
from bothways.files import folder_aside, take_place
from bothways.model.abilities import Abilities, TaskHead
from bothways.model.config import ModelConfig
from bothways.model.heads import HEADS as KNOWN_HEADS
from bothways.model.huggingface.architectures import architecture, begin, config_json, guessed, text_ids
from bothways.model.huggingface.config_json import class_of, from_left, read_config, sizes
from bothways.model.huggingface.contents import (
    WEIGHTS,
    read_file,
    read_object,
    read_values,
    read_weights,
    write_json,
    write_tensors,
)
from bothways.model.huggingface.families import family_for, family_of
from bothways.model.huggingface.family import Family
from bothways.model.huggingface.halves import encoder_shape, encoder_weights
from bothways.model.huggingface.sentence_modules import MODULES, SentenceModules
from bothways.model.huggingface.weight_names import (
    from_hugging_face_names,
    head_among,
    predicts_tokens,
    to_hugging_face,
    untied,
)
from bothways.model.model import Model
from bothways.sums import unchanged, write_sums
from bothways.visibility import named

HEADS = "head.safetensors"
"""Heads that the face has no place for."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A model read from a folder, and what it can be asked."""

    model: Model
    trained: Abilities


def save_faces(
    run: Path,
    *,
    weights: Mapping[str, Tensor],
    config: ModelConfig,
    vocabulary: Vocabulary,
    trained: Abilities,
    save_tokenizer: Callable[[Path, Literal["encoder", "decoder"]], None],
    card: Callable[[str], str],
) -> list[Path]:
    """Writes a folder for each face (`body` when there is none) and returns them.

    Everything is written aside, flushed, and renamed; the weights are one file under several names where the file
    system can (a hard link), else copies.

    Args:
        weights: {parameter name of Model: float32 master weight}; parts stay out.
        save_tokenizer: called with (folder, "encoder" or "decoder"): which template goes around a text. Where it
            leaves no modules.json, vectors are the mean of the states.
        card: called with the face's name; returns its README.md.

    Raises:
        ModelError: a shape that Hugging Face does not have.
        MachineError: it cannot be written; what was there is as it was.
    """
    faces = trained.folders
    configs, files = planned(weights, config=config, vocabulary=vocabulary, trained=trained)
    with folder_aside(run / "faces") as aside:
        for name, tensors in files.items():
            write_tensors(aside / name, tensors)
        for where, face in faces.items():
            folder = aside / where
            folder.mkdir()
            for file in (WEIGHTS, HEADS):
                if (aside / file).exists():
                    _link(aside / file, folder / file)
            write_json(folder / "config.json", configs[where])
            write_json(folder / "bothways.json", trained.as_json())
            save_tokenizer(folder, "decoder" if face.startswith("decoder") else "encoder")
            (folder / "README.md").write_text(card(face), encoding="utf-8")
            if face in ("decoder", "seq2seq"):
                write_json(folder / "generation_config.json", _generation(vocabulary, trained, face))
            vectors = trained.only_head is not None and trained.only_head.head == "vector"
            if (where == "encoder" or vectors) and not (folder / MODULES).exists():
                SentenceModules().write(folder, width=config.width)
        write_sums(*(aside / where for where in faces))
        for where in faces:
            take_place(aside / where, run / where)
    return [run / where for where in faces]


Planned = tuple[dict[str, dict[str, Any]], dict[str, dict[str, Tensor]]]
"""{folder: its config.json}, {file of every folder: its tensors}"""


def planned(
    weights: Mapping[str, Tensor], *, config: ModelConfig, vocabulary: Vocabulary, trained: Abilities
) -> Planned:
    """What `save_faces` will write, all but tokenizer and card; worth asking before a run is started.

    Raises:
        ModelError: a shape, a tokenizer or a way of saying words that Hugging Face does not have.
    """
    if trained.hidden == "before" and "encoder" in trained.faces:
        raise ModelError(
            "this model reads from all sides and says a hidden word one place before its mask, which no masked class "
            "of transformers does: it cannot be saved as one"
        )
    configs = {
        folder: config_json(config, vocabulary=vocabulary, face=face, head=trained.only_head)
        for folder, face in trained.folders.items()
    }
    face, head = next(iter(trained.folders.values())), "words"
    if trained.only_head is not None and not trained.writers and face not in ("body", "decoder-body"):
        head = trained.only_head.name
    elif face == "detector":
        head = "replaced"
    # the face's own weights, and beside them the heads that it has no place for
    files = {WEIGHTS: to_hugging_face(weights, config=config, family=family_for(config, face), head=head)}
    heads = {
        name: weight.detach().float().cpu().contiguous() for name, weight in weights.items() if name[:6] == "heads."
    }
    if heads and head == "words":
        files[HEADS] = heads
    return configs, files


@checked
def from_hugging_face(folder: str | Path) -> Model:
    """The model in a folder, our own or a published one (`families.FAMILIES`); float32, on the CPU, ready to train on.

    Raises:
        ModelError: no model there, a kind that is not ours, weights that are a pickle, damaged, or do not fit.
    """
    return read_saved(Path(folder)).model


def read_saved(folder: Path) -> Saved:
    """As `from_hugging_face`, with what the model can be asked."""
    with unchanged(folder):
        return _read_saved(folder)


def _read_saved(folder: Path) -> Saved:
    values = read_values(folder)
    tensors = read_weights(folder)
    try:
        family = family_of(values)
        words = family.encoder_decoder or predicts_tokens(tensors, family) or _table_predicts(values, tensors)
        trained = _trained(folder, values, words=words)
        heads = _read_heads(folder / HEADS, trained.heads)
        asked = {key.split(".")[1] for key in heads} & KNOWN_HEADS.keys()
        asked |= {"replaced"} if "detector" in trained.folders.values() else set()
        made = {name: KNOWN_HEADS[name] for name in sorted(asked)}
        made |= {name: head.factory for name, head in trained.new_heads.items()}
        shape = _shape(values, tensors, words=words)
        if trained.new_heads and trained.hidden is None and not trained.writers:  # a body that predicts no tokens
            shape = shape.model_copy(update={"word_head": "tied"})
        _check_sizes(shape, tensors, values)
        model = Model(shape, heads=made, rule=named(trained.rule))
        wanted = {key: weight for key, weight in model.state_dict().items() if key not in heads}
        body = _named(tensors, values, wanted)
        model.load_state_dict(body | heads)
    except (ModelError, UsageError) as error:
        raise ModelError(f"{folder}: {error}") from None
    return Saved(model, trained)


def _shape(values: Mapping[str, Any], tensors: Mapping[str, Tensor], *, words: bool) -> ModelConfig:
    """That of config.json; a word head that differs from the table it should be tied to is one of its own, as
    transformers has it.

    Raises:
        ModelError: as `read_config`; or the classic shape has no place for such a head.
    """
    shape, family = read_config(values, words=words), family_of(values)
    if not words or shape.word_head == "untied" or (found := untied(tensors, family)) is None:
        return shape
    if "untied" in family.word_heads:
        return shape.model_copy(update={"word_head": "untied"})
    raise ModelError(
        f"{found[0]} differs from {found[1]}, to which tie_word_embeddings ties it; Bothways has no untied head of "
        "this shape. If the second is the one that was trained, save the model without the first."
    )


def _check_sizes(config: ModelConfig, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Before anything is made: memory is not taken for more than twice what the files hold. What fits better than that
    is found tensor by tensor.

    Raises:
        ModelError: config.json describes a far larger model.
    """
    there = sum(tensor.numel() for tensor in tensors.values())
    layers = config.layers + (config.decoder.layers if config.decoder else 0)
    if config.least_parameters > 2 * there + 2**20 or layers > len(tensors):
        raise ModelError(
            f"config.json describes {config.least_parameters:,} weights or more ({sizes(values)}), and the files hold "
            f"{there:,} in {len(tensors)} tensors: it is not that of this model"
        )


def _named(tensors: Mapping[str, Tensor], values: Mapping[str, Any], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As `from_hugging_face_names`; where a tensor does not fit, the sizes that config.json gives are named too."""
    try:
        return from_hugging_face_names(tensors, family=family_of(values), wanted=wanted)
    except ModelError as error:
        raise ModelError(f"{error} (config.json says {sizes(values)})") from None


def _table_predicts(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bool:
    """Whether the table is a word head, where config.json names no class: a body saved alone has bare names."""
    tied = bool(values.get("tie_word_embeddings")) and not values.get("architectures")
    family = family_of(values)
    table = f"{family.modules['backbone.embeddings.tokens']}.weight"
    return tied and "tied" in family.word_heads and table in tensors


def read_abilities(folder: Path) -> Abilities:
    """What the model in a folder was taught, without its weights.

    Raises:
        ModelError: no model there, or one that reads or pools in a way that is not ours.
    """
    with unchanged(folder, weights=False):
        values = read_values(folder)
    try:
        return _trained(folder, values, words=False)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from None


def _trained(folder: Path, values: Mapping[str, Any], *, words: bool) -> Abilities:
    """As noted there; in a folder of others, by their class and by whether a head for words is there."""
    noted = folder / "bothways.json"
    if noted.exists():
        trained = Abilities.from_json(read_object(noted))
        _check_direction(values, trained)
        return trained
    return guessed(values, words=words or class_of(values).endswith("ForMaskedLM"))


def _check_direction(values: Mapping[str, Any], trained: Abilities) -> None:
    """What bothways.json says was taught in one direction: config.json must not have been given another since.

    Raises:
        ModelError: it was.
    """
    name = class_of(values)
    if trained.new_heads and trained.hidden is None:
        left = trained.faces == ("decoder",)
    elif name.endswith(("ForCausalLM", "ForMaskedLM")):
        left = name.endswith("ForCausalLM")
    else:  # a body may be read in a way of its objective's own
        return
    if from_left(values) != left:
        field = "is_decoder" if "is_decoder" in values else "is_causal"
        raise ModelError(
            f"config.json: {field} is {values.get(field)!r}, and the model was taught to read "
            f"{'from left to right' if left else 'from all sides'}. Write it back as it was saved."
        )


def read_body(folder: Path, *asked: TaskHead, dropout: float | None = None, seed: int = 0) -> Model:
    """The body in a folder under a head that is to be fine-tuned, or under several; of an encoder-decoder, its encoder.

    Of a head, what the folder holds for it is taken (BERT's pooler, or all of a head for the same labels; of several
    heads, what stands before their last matrices); the rest is drawn by `seed`. The words' own head is left out.

    Raises:
        ModelError: as `from_hugging_face`; or transformers has no class of this kind for such a head.
    """
    with unchanged(folder):
        return _read_body(folder, asked, dropout, seed)


def _read_body(folder: Path, asked: Sequence[TaskHead], dropout: float | None, seed: int) -> Model:
    values, tensors = read_values(folder), read_weights(folder)
    try:
        whole = read_config(values, words=False).model_copy(update={"word_head": "tied"})
        _check_sizes(whole, tensors, values)
        config = encoder_shape(whole)
        if dropout is not None:
            config = config.model_copy(update={"dropout": dropout})
        single = [head.face for head in asked]  # each must be one that the body can have
        face = single[0] if len(single) == 1 else Abilities.of_heads(*asked).folders["model"]
        architecture(config, face)
        family = family_for(config, face)
        model = Model(config, heads={head.name: head.factory for head in asked}, seed=seed)
        own = model.state_dict()
        like = own if whole.decoder is None else Model(whole).state_dict()
        body = {name: weight for name, weight in like.items() if name.startswith(("backbone.", "decoder."))}
        found = encoder_weights(_named(tensors, values, body), whole)
        for head, face in zip(asked, single, strict=True):
            if face not in ("body", "decoder-body") or len(asked) > 1:
                found |= _of_its_kind(tensors, family, own, head, whole=len(asked) == 1)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from None
    model.load_state_dict(own | found)
    return model


def _of_its_kind(
    tensors: Mapping[str, Tensor], family: Family, own: Mapping[str, Tensor], head: TaskHead, *, whole: bool
) -> dict[str, Tensor]:
    """What a folder holds for a head of this kind, under the head's own name; its last matrix only where `whole`."""
    prefix, kind = f"heads.{head.name}.", f"heads.{head.head}."
    inside = [name.removeprefix(prefix) for name in own if name.startswith(prefix)]
    there = family.heads.get(head.head, {})
    wanted = {
        kind + name: own[prefix + name]
        for name in inside
        if name.rpartition(".")[0] in there and (whole or not name.startswith("out."))
    }
    found = head_among(tensors, family, wanted=wanted)
    return {prefix + name.removeprefix(kind): weight for name, weight in found.items()}


def _read_heads(path: Path, heads: Collection[str]) -> dict[str, Tensor]:
    """Those that Bothways knows and that it was fine-tuned with; a user's own stay in the file."""
    tensors, known = read_file(path) if path.exists() else {}, {*KNOWN_HEADS, *heads}
    return {key: tensor for key, tensor in tensors.items() if key.split(".")[1] in known}


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one that has no links
        shutil.copyfile(source, target)


def _generation(vocabulary: Vocabulary, trained: Abilities, face: str) -> dict[str, Any]:
    """Where a text ends; what Bothways pretrained draws the next token, never one that is no text; what was taught to
    write, and an encoder-decoder, takes the likeliest."""
    found: dict[str, Any] = text_ids(vocabulary) | (begin(vocabulary) if face == "seq2seq" else {})
    if not trained.objective:
        return found
    found |= {"do_sample": face == "decoder", "suppress_tokens": sorted(vocabulary.special - vocabulary.ends)}
    if trained.writer and trained.writer.writes:
        found |= {"do_sample": False, "max_new_tokens": trained.writer.writes.target, **trained.writer.writes.options}
    return found
