"""A loaded model written back: folders that transformers loads, whatever the model came from."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from bothways.claims import claimed
from bothways.errors import ModelError, UsageError
from bothways.inference.engine import Engine
from bothways.model import save_faces
from bothways.model.adapters import is_added
from bothways.model.huggingface.adapter_folders import is_adapter
from bothways.model.huggingface.card import saved_card

FACES = ("encoder", "decoder", "body", "model")
"""The folders that a model is in, in the order in which they are looked for."""


def save(engine: Engine, folder: str | Path) -> list[Path]:
    """Writes a folder for each face (`encoder`, `decoder`, `model`, `body`) and returns them; weights in float32.

    A text keeps the frame that the tokenizer came with, unless the model has several faces, each with its own.

    Raises:
        ModelError: a shape or a kind of head that transformers has no class for, or an adapter on the model.
        MachineError: it cannot be written.
        UsageError: another process writes there, or another model's faces are there that this one has not.
    """
    model, abilities, tokenizer = engine.model, engine.abilities, engine.tokenizer
    if any(is_added(name) for name in model.state_dict()):
        raise ModelError("this model has an adapter, which a whole model has not: model.merge().save(...)")
    count, alone = sum(parameter.numel() for parameter in model.parameters()), len(abilities.folders) == 1

    def save_tokenizer(place: Path, face: Literal["encoder", "decoder"]) -> None:
        tokenizer.save(
            place,
            template="own" if alone else face,
            length=engine.length,
            segments=model.config.segments > 1,
        )
        if alone and engine.sentence is not None:
            engine.sentence.write(place, width=model.config.width)

    with claimed(Path(folder)):
        _refuse_others(Path(folder), written=abilities.folders)
        return save_faces(
            Path(folder),
            weights={name: weight.contiguous() for name, weight in model.state_dict().items()},
            config=model.config,
            vocabulary=tokenizer.vocabulary,
            trained=abilities,
            save_tokenizer=save_tokenizer,
            card=lambda face: saved_card(
                Path(folder).resolve().name, model.config, face, trained=abilities, parameters=count
            ),
        )


def _refuse_others(folder: Path, *, written: Collection[str]) -> None:
    """A face that stays from another model would be opened for the new one, or beside it; it may be a run's only copy,
    so that it is for its owner to take away.

    Raises:
        UsageError: there is one.
    """
    kept = [face for face in FACES if face not in written and (folder / face / "config.json").is_file()]
    kept += ["adapter"] if is_adapter(folder / "adapter") else []
    if kept:
        raise UsageError(
            f"{folder / kept[0]} holds another model, which would be opened for the one that is to be saved, or beside "
            f"it, in {folder} ({', '.join(written)}): choose another folder, or take {kept[0]} away first"
        )
