"""FLOPs as ELECTRA's authors count them give their published figures."""

from __future__ import annotations

import pytest

from bothways.model import ModelConfig
from bothways.model.generator import generator_shape
from tests.model.electra_flops import bert_training, electra_training

SMALL = ModelConfig(
    vocabulary=30522,
    layers=12,
    width=256,
    heads=4,
    inner=1024,
    length=128,
    shape="classic",
    segments=2,
    embedding_width=128,
    word_head="transformed",
)


def test_electra_small() -> None:
    generator = generator_shape(SMALL, width=1 / 4, layers=1.0)
    assert (generator.width, generator.heads, generator.inner, generator.layers) == (64, 1, 256, 12)
    found = electra_training(SMALL, generator, length=128, rows=128, steps=1e6)
    assert found == pytest.approx(1.2937e18, rel=1e-3)


def test_bert_small_at_as_many_flops() -> None:
    assert bert_training(SMALL, length=128, rows=128, steps=1.45e6) == pytest.approx(1.4187e18, rel=1e-3)
