"""A loaded model written back: folders that transformers loads, whatever the model came from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bothways.files import writing
from bothways.inference.engine import Engine
from bothways.model import architecture, save_faces

_README = """\
---
library_name: transformers
tags: [bothways]
---

# {name}

{count:.1f} million weights, written by Bothways ({version}). It is a {kind} and needs no code of ours.
"""


def save(engine: Engine, folder: str | Path) -> list[Path]:
    """Writes a folder for each face (`encoder`, `decoder`, `model`, `body`) and returns them; weights in float32.

    A text keeps the frame that the tokenizer came with, unless the model has several faces, each with its own.

    Raises:
        ModelError: a shape or a kind of head that transformers has no class for.
        MachineError: it cannot be written.
    """
    from bothways import __version__

    model, trained, tokenizer = engine.model, engine.trained, engine.tokenizer
    count, alone = sum(weight.numel() for weight in model.parameters()), len(trained.folders) == 1

    def save_tokenizer(place: Path, face: Literal["encoder", "decoder"]) -> None:
        tokenizer.save(
            place,
            template="own" if alone else face,
            length=model.config.length,
            segments=model.config.segments > 1,
        )
        if alone and engine.sentence is not None:
            engine.sentence.write(place, width=model.config.width)

    with writing(Path(folder)):
        return save_faces(
            Path(folder),
            weights=model.state_dict(),
            config=model.config,
            vocabulary=tokenizer.vocabulary,
            trained=trained,
            save_tokenizer=save_tokenizer,
            card=lambda face: _README.format(
                name=Path(folder).resolve().name,
                count=count / 1e6,
                version=__version__,
                kind=architecture(model.config, face)[1],
            ),
        )
