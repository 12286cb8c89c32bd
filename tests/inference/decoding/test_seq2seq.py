"""Encoder-decoders write as transformers' generate and CTranslate2 do, and the same in any company."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bothways.batch import Batch
from bothways.inference import LanguageModel, load
from bothways.inference.decoding.options import Options
from bothways.objectives import build
from tests.inference.made import SEQ2SEQ, make_run
from tests.objectives.rows import pair_row

SOURCES = ["Once upon a time", "", "A small", "今天天气", "The quick brown fox jumps over the lazy dog. Reading is"]


@pytest.fixture(scope="module", params=["modern", "classic"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param) / "run"
    return make_run(folder, SEQ2SEQ, classic=request.param == "classic", decoder=2, seed=1)


@pytest.fixture(scope="module")
def loaded(run: Path) -> LanguageModel:
    return load(run)


@pytest.fixture(scope="module")
def theirs(run: Path) -> Any:
    return pytest.importorskip("transformers").AutoModelForSeq2SeqLM.from_pretrained(run / "model").eval()


def written(loaded: LanguageModel, **options: Any) -> list[tuple[int, ...]]:
    return [one.tokens for one in loaded.generate(SOURCES, max_new_tokens=24, **options)]


def their_tokens(loaded: LanguageModel, theirs: Any, source: str, **options: Any) -> tuple[int, ...]:
    """Without what a text begins and ends with."""
    vocabulary = loaded.tokenizer.vocabulary
    asked = torch.tensor([[vocabulary.cls, *loaded.tokenizer.encode(source), vocabulary.sep]])
    found = theirs.generate(asked, attention_mask=torch.ones_like(asked), max_new_tokens=24, **options)[0].tolist()
    return tuple(token for token in found[1:] if token not in (vocabulary.sep, vocabulary.pad))


def test_greedy_tokens_equal_those_of_generate(loaded: LanguageModel, theirs: Any) -> None:
    assert written(loaded, temperature=0) == [their_tokens(loaded, theirs, source) for source in SOURCES]


@pytest.mark.parametrize("options", [{"num_beams": 4}, {"num_beams": 3, "no_repeat_ngram_size": 2}], ids=str)
def test_beams_equal_those_of_generate(options: Options, loaded: LanguageModel, theirs: Any) -> None:
    """Where both mean the same: the sum of log-probabilities, ended by as many closed texts as there are beams."""
    same = {"early_stopping": True, "length_penalty": 0.0}
    expected = [their_tokens(loaded, theirs, source, **options, **same) for source in SOURCES]
    assert written(loaded, **options, length_penalty=0.0) == expected


def test_a_text_is_the_same_in_any_company(loaded: LanguageModel) -> None:
    alone = [loaded.generate(source, max_new_tokens=24, temperature=0).tokens for source in SOURCES]
    assert written(loaded, temperature=0) == alone == written(loaded, temperature=0, batch_size=2)


def test_text_is_streamed(loaded: LanguageModel) -> None:
    whole = loaded.generate(SOURCES[0], max_new_tokens=24, temperature=0)
    assert "".join(loaded.stream(SOURCES[0], max_new_tokens=24, temperature=0)) == whole.text == whole.full_text


def test_a_source_may_be_given_as_tokens(loaded: LanguageModel) -> None:
    vocabulary = loaded.tokenizer.vocabulary
    tokens = np.array([vocabulary.cls, *loaded.tokenizer.encode(SOURCES[0]), vocabulary.sep])
    from bothways.inference.decoding.generate import generate
    from bothways.inference.decoding.options import GenerationOptions, GenerationRequest

    options = GenerationOptions(temperature=0, max_new_tokens=24)
    (found,) = generate(loaded.engine, [GenerationRequest(tokens, options)])
    assert found.tokens == loaded.generate(SOURCES[0], max_new_tokens=24, temperature=0).tokens


def test_the_loss_of_a_pair_is_that_of_transformers(loaded: LanguageModel, theirs: Any) -> None:
    row = pair_row([(5, 6)])
    sample = build("seq2seq", loaded.tokenizer.vocabulary).sample(row, np.random.default_rng(0), 0.0)
    batch = Batch.stack([sample])
    from bothways.model.losses import plain_loss

    with torch.no_grad():
        loss, count = plain_loss(loaded.engine.model, batch)["seq2seq"]
        labels = torch.from_numpy(row.tokens[row.part == 1].astype(np.int64))[None]
        assert batch.source is not None
        expected = theirs(input_ids=batch.source.tokens, labels=labels).loss
    assert float(loss / count) == pytest.approx(float(expected), rel=1e-5)


def test_ctranslate2_converts_it_and_writes_the_same(run: Path, loaded: LanguageModel, tmp_path: Path) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    ctranslate2.converters.TransformersConverter(str(run / "model")).convert(str(tmp_path / "converted"))
    translator, own = ctranslate2.Translator(str(tmp_path / "converted")), loaded.tokenizer
    name = own._engine.id_to_token
    special = sorted(own.vocabulary.special - own.vocabulary.ends)
    for source in filter(None, SOURCES):  # of nothing it writes nothing
        tokens = [name(token) for token in (own.vocabulary.cls, *own.encode(source), own.vocabulary.sep)]
        (found,) = translator.translate_batch(
            [tokens], beam_size=1, max_decoding_length=24, suppress_sequences=[[name(token)] for token in special]
        )
        mine = loaded.generate(source, max_new_tokens=24, temperature=0).tokens
        assert found.hypotheses[0] == [name(token) for token in mine]
