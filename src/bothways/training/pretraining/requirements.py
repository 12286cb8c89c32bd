"""What an objective needs of the shards, checked before a run is started."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bothways.corpus import Rows, Shards
from bothways.errors import DataError, UsageError
from bothways.model import ModelConfig
from bothways.objectives import Objective
from bothways.training.pretraining.replay import WithReplay

ROWS = 8  # that each part of an objective draws to be looked at
HOW = {
    "pairs": "bothways prepare --pairs en-fr=FILE --out SHARDS, or bothways prepare python-code --out SHARDS",
    "languages": "bothways prepare en=english.txt fr=french.txt --out SHARDS",
    "word starts": "bothways prepare FILE --out SHARDS",
}
"""{what shards may hold: the command that makes some}."""


def check_needs(objective: Objective, shards: Shards, shape: ModelConfig) -> None:
    """
    Raises:
        DataError: the shards lack what the objective needs; it is named, with the command that makes it.
        UsageError: the model has too few segments, or one of them would have two meanings.
    """
    check_sides(objective, shape)
    missing = sorted(objective.about.requires - shards.manifest.holds)
    if missing:
        raise DataError(
            f"{objective.name} needs shards with {' and '.join(missing)}, and {Path(shards.path)} has none. "
            f"Make them: {'; '.join(HOW[name] for name in missing)}."
        )
    languages = shards.manifest.languages
    if not shape.segments:
        return
    if objective.segments and len(languages) > 1:
        raise UsageError(
            f"{objective.name} marks the parts of a row with segments, so they cannot also tell the languages of "
            f"{shards.path} apart ({', '.join(languages)}). Prepare the text without names of languages, or train the "
            "modern shape, which has no segments: --set model.shape=modern --set model.segments=0"
        )
    if shape.segments < len(languages):
        raise UsageError(
            f"the languages {', '.join(languages)} are told apart by segments, and the model has {shape.segments}: "
            f"--set model.segments={len(languages)}"
        )


def check_sides(objective: Objective, shape: ModelConfig) -> None:
    """
    Raises:
        UsageError: an objective for an encoder-decoder and a model of one stack, or the other way round.
    """
    if objective.encoder_decoder != (shape.decoder is not None):
        does, size = ("needs", "6-6x256") if objective.encoder_decoder else ("does not train", "12x256")
        other = "" if objective.encoder_decoder else ", or --objective seq2seq"
        raise UsageError(f"{objective.name} {does} a decoder beside the encoder: give a --size as {size}{other}")


def check_segments(objective: Objective, rows: Rows | WithReplay, shape: ModelConfig) -> None:
    """A model that embeds segments has one for every kind that the rows of the objective tell apart.

    Raises:
        UsageError: there are too few.
    """
    drawn = [
        leaf.sample(rows[i], np.random.default_rng(rows.key(i)), 0.5)
        for leaf, _ in objective.leaves()
        for i in range(ROWS)
    ]
    columns = [(sample.layout.language if sample.layout.segment is None else sample.layout.segment) for sample in drawn]
    needed = 1 + max((int(np.max(column)) for column in columns if column is not None), default=0)
    if needed > shape.segments:
        raise UsageError(
            f"{objective.name} tells {needed} kinds of text apart by segments, and the model has {shape.segments}: "
            f"--set model.segments={needed}"
        )
