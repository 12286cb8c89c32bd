"""Every family: documents of one packed row do not meet, and what is read is a shape of its own."""

from __future__ import annotations

import json

import pytest
import torch

from bothways.model import read_saved
from bothways.model.huggingface.families import FAMILIES as KNOWN
from bothways.model.huggingface.families import family_of
from bothways.visibility import ordered
from tests.model.huggingface.configurations import FAMILIES
from tests.model.huggingface.test_config_fields import Made, configuration_of, folders
from tests.model.small import packed, random_tokens

__all__ = ["folders"]  # the fixture


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_documents_of_a_row_do_not_meet(family: str, folders: Made) -> None:
    saved = read_saved(folders[family, "words"])  # of an encoder-decoder, its encoder
    model, causal = saved.model.eval(), saved.trained.faces == ("decoder",)
    together = packed([14, 9, 5], causal=causal)
    tokens = random_tokens(together, vocabulary=60)
    states = model.backbone(tokens, together, ordered.dense(together))
    start = 0
    for length in (14, 9, 5):
        alone, part = packed([length], causal=causal), slice(start, start + length)
        expected = model.backbone(tokens[:, part], alone, ordered.dense(alone))
        assert (states[:, part] - expected).abs().max() <= 2e-5 * expected.abs().max()
        start += length


def test_every_family_is_walked() -> None:
    assert {ours(name) for name in FAMILIES} == {family.name for family in KNOWN.values()}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_folder_is_read_as_is_a_shape_of_its_family(family: str, folders: Made) -> None:
    config = read_saved(folders[family, "words"]).model.config
    assert KNOWN[ours(family)].differs(config) == []


def ours(name: str) -> str:
    return family_of(json.loads(configuration_of(name).to_json_string())).name
