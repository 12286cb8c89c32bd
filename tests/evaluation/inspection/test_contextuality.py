"""Layer by layer on real models: the states are the backbone's, and bad input is named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import bothways
from bothways.batch import Reads
from bothways.errors import DataError
from bothways.evaluation.inspection.contextuality import contextuality, read_texts
from bothways.evaluation.inspection.contextuality_page import render
from bothways.evaluation.inspection.layers import states_by_layer, words_of
from bothways.model.passing import Pass
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
    engine = bothways.load(run, device="cpu").engine
    reads: Reads = "left to right" if run.name == "causal" else "all sides"
    words = words_of(engine, TEXTS[:3], reads)
    found = list(states_by_layer(engine, words, reads))
    backbone = engine.model.backbone
    face = "encoder" if "encoder" in engine.abilities.faces else "decoder"
    for number in {*words.row.tolist()}:
        tokens, layout = engine.collate([words.rows[number]], face=face)
        with torch.inference_mode():
            kept = [*backbone.states(backbone.embeddings(tokens, layout), Pass(layout, ordered.dense(layout)))]
        mine = np.flatnonzero(words.row == number)
        for states, expected in zip(found, kept, strict=True):
            for i in mine:
                mean = expected[0, words.start[i] : words.stop[i]].mean(0).numpy()
                np.testing.assert_allclose(states[i], mean, atol=1e-5)


def test_embeddings_do_not_depend_on_context_and_the_rest_does(run: Path) -> None:
    found = contextuality(bothways.load(run, device="cpu").engine, TEXTS, name="x")
    assert [one.name for one in found] == (["x, all sides", "x, left to right"] if run.name == "hybrid" else ["x"])
    for one in found:
        if run.name != "classic":  # whose embeddings hold the position
            assert one.layers[0].self_similarity == pytest.approx(1, abs=1e-5)
        assert one.layers[-1].self_similarity.max() < 1 - 1e-4
        assert "fox" in {word.strip() for word in one.words}
    page = render(found)
    assert page.count("<svg") == 4 and "most contextual" in page
    heads = re.findall(r'<th scope="col">(.*?)</th>', page)
    assert "similarity within a text" in heads and not any("_" in head or "intra" in head for head in heads)


def test_the_ways_of_reading_differ(tmp_path: Path) -> None:
    """Left to right, a first word has no context; from all sides it has."""
    engine = bothways.load(make_run(tmp_path / "hybrid", HYBRID), device="cpu").engine
    texts = [f"quick {text}" for text in TEXTS]
    ways = {one.reads: one.layers[-1].self_similarity[one.words.index("quick")] for one in contextuality(engine, texts)}
    assert ways["left to right"] == pytest.approx(1, abs=1e-5) and ways["all sides"] < 1 - 1e-4


def test_too_little_text_and_none(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="words that stand in 5 texts or more, got 0 in 1 texts"):
        contextuality(bothways.load(run, device="cpu").engine, TEXTS[:1])
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(DataError, match="expected texts, one a line, got an empty file"):
        read_texts(tmp_path / "empty.txt")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="expected UTF-8"):
        read_texts(tmp_path / "bad.txt")
