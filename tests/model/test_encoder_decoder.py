"""An encoder-decoder that begins with models of one stack."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bothways.batch import Batch
from bothways.errors import ModelError
from bothways.model import Model, ModelConfig
from bothways.model.encoder_decoder import init_decoder, init_encoder, with_decoder
from tests.model.small import CLASSIC, MODERN, changed, model_of, packed, random_tokens

LAYOUT = packed([14, 9], [21])
TOKENS = random_tokens(LAYOUT)


def begin(model: Model, layers: int | None = None) -> Model:
    """The encoder-decoder that begins with it; everything else is new."""
    wanted = with_decoder(model.config, layers)
    made = Model(wanted, seed=5).eval()
    own = made.state_dict()
    taken = init_encoder(model.state_dict(), model.config, wanted)
    assert taken.keys() <= own.keys()
    made.load_state_dict(own | taken)
    return made


@torch.no_grad()
def test_the_encoder_of_a_classic_shape_reads_as_before() -> None:
    """Segment 0 is in the places; BART's epsilon is BERT's here."""
    model = model_of(changed(CLASSIC, norm={"epsilon": 1e-5}))
    batch = Batch(TOKENS, LAYOUT, ())
    assert (begin(model).states(batch) - model.states(batch)).abs().max() <= 1e-5


@torch.no_grad()
def test_the_encoder_of_a_modern_shape_is_changed_less_by_norms_of_the_size_of_what_they_norm() -> None:
    model = model_of(MODERN)
    batch = Batch(TOKENS, LAYOUT, ())
    made, before = begin(model), model.states(batch)

    def away() -> float:
        return float((made.states(batch) - before).norm() / before.norm())

    near = away()
    for name, parameter in made.named_parameters():
        if name.startswith("backbone") and "after_norm" in name:
            parameter.fill_(1.0)
    assert near < 0.8 * away()


def test_a_decoder_begins_with_blocks_of_another_evenly_spread() -> None:
    model, other = model_of(changed(MODERN, layers=2)), model_of(changed(MODERN, layers=5), seed=7)
    wanted = with_decoder(model.config, 3)
    found = init_decoder(init_encoder(other.state_dict(), other.config, wanted), other.config, wanted)
    own = Model(wanted).state_dict()
    assert found.keys() <= own.keys()
    new = {name for name in own.keys() - found.keys() if name.startswith("decoder.")}
    assert new and all("cross_attention" in name for name in new)
    for number, taken in enumerate((0, 2, 4)):
        theirs = other.state_dict()[f"backbone.blocks.{taken}.down.weight"]
        assert torch.equal(found[f"decoder.blocks.{number}.down.weight"], theirs)


def test_a_decoder_of_another_width_is_refused() -> None:
    wide = ModelConfig(vocabulary=97, layers=2, width=128, heads=2, inner=112, length=64)
    with pytest.raises(ModelError, match="width is 128, and 64 in the encoder"):
        init_decoder(Model(wide).state_dict(), wide, with_decoder(MODERN))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attention": {"key_heads": 1}}, "key_heads is 1, and 2"),
        ({"attention": {"bias": "qkv"}}, "attention.bias is qkv, and none"),
        ({"attention": {"head_norm": True}}, "attention.head_norm is True, and False"),
        ({"attention": {"window": 3}}, "attention.window is 3, and None"),
        ({"embedding_width": 8}, "embedding_width is 8, and None"),
        ({"norm": {"kind": "layer", "bias": True}}, "norm.kind is layer, and rms"),
        ({"norm": {"embeddings": True}}, "norm.embeddings is True, and False"),
        ({"positions": {"base": 1e6}}, r"positions\.base is 1000000\.0, and 10000\.0"),
    ],
)
def test_a_decoder_whose_weights_would_be_left_out_is_refused(changes: dict[str, Any], said: str) -> None:
    other = changed(MODERN, **changes)
    with pytest.raises(ModelError, match=f"a model of the same shape: {said}"):
        init_decoder(Model(other).state_dict(), other, with_decoder(MODERN))


@pytest.mark.parametrize("changes", [{"attention": {"window": 3}}, {"norm": {"kind": "layer"}}])
def test_blocks_that_no_encoder_decoder_has_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="cannot begin an encoder-decoder"):
        with_decoder(changed(MODERN, **changes))
