"""What a run would fail of in the end is refused before it starts: nothing is trained, no folder is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from bothways.corpus import Shards
from bothways.errors import BothwaysError, ModelError, UsageError
from bothways.training.pretraining import pretrain
from bothways.training.pretraining.setup import objective_of
from tests.training.pretraining.small import configuration

CLASSIC = ("model.shape=classic", "model.word_head=transformed")
REFUSED: dict[str, tuple[str, tuple[str, ...], type[BothwaysError], str]] = {
    "one segment": ("mlm", (*CLASSIC, "model.segments=1"), ModelError, "roberta's padding is token 1, this .* is 0"),
    "no segments": ("mlm", CLASSIC, ModelError, "would be bert's: set segments to 2"),
    "a tied head": ("mlm", ("model.shape=classic", "model.segments=2"), ModelError, "word_head to transformed"),
    "segments": ("mlm", ("model.segments=2",), ModelError, "would be llama's: set segments to 0"),
    "odd heads": ("causal", ("model.heads=3", "model.attention.head_size=16"), ModelError, "a multiple of the heads"),
    "qwen3": ("mlm", ("model.attention.head_norm=true",), ModelError, "no encoder of qwen3's shape"),
    "unilm1": ("unilm1", (*CLASSIC, "model.segments=2"), UsageError, "tells 6 kinds .* --set model.segments=6"),
    "a mixture": ("9/10 mlm + 1/10 unilm1", (*CLASSIC, "model.segments=2"), UsageError, "--set model.segments=6"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_end_well_does_not_begin(case: str, shards: Path, tmp_path: Path) -> None:
    objective, settings, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        pretrain(configuration(shards, tmp_path / "run", *settings, objective=objective))
    assert not (tmp_path / "run").exists()


def test_enough_segments_are_enough(shards: Path, tmp_path: Path) -> None:
    for objective, settings in (("unilm1", (*CLASSIC, "model.segments=6")), ("unilm1", ()), ("electra", ())):
        config = configuration(shards, tmp_path / "run", *settings, objective=objective)
        assert objective_of(config, Shards.open(shards))[0].name == objective
