"""Presets, widths, and what a token costs."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bothways.errors import UsageError
from bothways.model import SIZES, Model, ModelConfig, preset
from bothways.model.config import swiglu_inner


@pytest.mark.parametrize("size", SIZES)
def test_a_preset_weighs_what_a_4x_gelu_body_weighs(size: str) -> None:
    config = preset(size, vocabulary=8192)
    assert config.inner % 16 == 0 and config.head_width == 64
    gelu = config.layers * 12 * config.width**2
    assert config.body_parameters == pytest.approx(gelu, rel=0.015)


def test_body_parameters_are_those_of_the_blocks_matrices() -> None:
    config = preset("tiny", vocabulary=100)
    blocks = Model(config).backbone.blocks
    assert config.body_parameters == sum(p.numel() for p in blocks.parameters() if p.dim() > 1)


def test_width_of_swiglu() -> None:
    assert [swiglu_inner(width) for width in (128, 256, 512, 768)] == [336, 688, 1360, 2048]


def test_flops_of_a_token() -> None:
    """By hand: 4 layers of 4 * 128^2 + 3 * 128 * 336 weights, 100 keys, a head over 1000 tokens at half the tokens."""
    config = preset("tiny", vocabulary=1000)
    body = 2 * 4 * (4 * 128 * 128 + 3 * 128 * 336)
    attention, head = 4 * 4 * 128 * 100, 2 * 128 * 1000 / 2
    assert config.flops_per_token(length=100, predicted=0.5) == 3 * (body + attention + head)


def test_a_classic_preset_is_as_wide_inside_as_bert() -> None:
    assert (preset("base", vocabulary=9, shape="classic").inner, preset("base", vocabulary=9).inner) == (3072, 2048)


def test_flops_of_a_narrow_head() -> None:
    """BERT's dense layer goes to the width of the table, and the logits are of that width."""
    config = preset("base", vocabulary=1000, shape="classic").model_copy(
        update={"embedding_width": 128, "word_head": "transformed"}
    )
    wide = config.flops_per_token(length=100, predicted=0.0)
    assert config.flops_per_token(length=100, predicted=1.0) - wide == 3 * 2 * (768 * 128 + 128 * 1000)


def test_an_unknown_size_lists_those_that_are_known() -> None:
    with pytest.raises(UsageError, match=r"unknown size 'tinny'.*Did you mean 'tiny'.*base, mini, small, tiny"):
        preset("tinny", vocabulary=100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "width must be a multiple of heads"),
        ({"width": 66, "heads": 22}, "even head width"),
        ({"norm": {"bias": True}}, "a root mean square norm has none"),
        ({"shape": "antique"}, "Input should be 'modern' or 'classic'"),
        ({"layers": 0}, "greater than or equal to 1"),
        ({"hidden": 1}, "Extra inputs are not permitted"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    fields = {"vocabulary": 100, "layers": 2, "width": 64, "heads": 2, "inner": 128}
    with pytest.raises(ValidationError, match=message):
        ModelConfig.model_validate({**fields, **changes})
