"""Layer by layer on real models: the states are the backbone's, and bad input is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import bothways
from bothways.analysis.contextuality import contextuality, read_texts
from bothways.analysis.layers import states_by_layer, words_of
from bothways.analysis.page import render
from bothways.errors import DataError
from bothways.visibility import ordered
from tests.inference.made import CAUSAL, HYBRID, MLM, make_run

WORDS = np.array("the quick fox jumps over the lazy dog".split())
TEXTS = [" ".join(np.random.default_rng(n).permutation(WORDS)) for n in range(12)]


@pytest.fixture(scope="module", params=["hybrid", "causal", "classic"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inside") / request.param
    if request.param == "classic":
        return make_run(folder, MLM, kind="wordpiece", classic=True)
    return make_run(folder, CAUSAL if request.param == "causal" else HYBRID)


def test_states_are_those_that_the_backbone_hands_out(run: Path) -> None:
    reader = bothways.load(run, device="cpu").reader
    words = words_of(reader, TEXTS[:3])
    found = list(states_by_layer(reader, words))
    kept: list[torch.Tensor] = []
    face = "encoder" if "encoder" in reader.trained.faces else "decoder"
    for number in {*words.row.tolist()}:
        kept.clear()
        pieces, layout = reader.lay([words.rows[number]], face=face)
        with torch.inference_mode():
            reader.model.backbone(pieces, layout, ordered.dense(layout), keep=kept.append)
        mine = np.flatnonzero(words.row == number)
        for states, expected in zip(found, kept, strict=True):
            for i in mine:
                mean = expected[0, words.start[i] : words.stop[i]].mean(0).numpy()
                np.testing.assert_allclose(states[i], mean, atol=1e-5)


def test_embeddings_do_not_depend_on_context_and_the_rest_does(run: Path) -> None:
    found = contextuality(bothways.load(run, device="cpu").reader, TEXTS, name="x")
    if run.name != "classic":  # whose embeddings hold the position
        assert found.layers[0].self_similarity.max() == pytest.approx(1, abs=1e-5)  # a first word may be another piece
    assert found.layers[-1].self_similarity.max() < 1 - 1e-4
    assert "fox" in found.words
    page = render([found, found])
    assert page.count("<svg") == 4 and "most contextual" in page


def test_too_little_text_and_none(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="words that stand in 5 texts or more, got 0 in 1 texts"):
        contextuality(bothways.load(run, device="cpu").reader, TEXTS[:1])
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(DataError, match="expected texts, one a line, got an empty file"):
        read_texts(tmp_path / "empty.txt")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="expected UTF-8"):
        read_texts(tmp_path / "bad.txt")
