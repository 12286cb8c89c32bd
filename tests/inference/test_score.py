"""Scoring: sums of log-probabilities equal those taken from transformers' logits, one text and one mask at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bothways.errors import UsageError
from bothways.inference import LanguageModel
from bothways.inference.score import score
from tests.inference.made import CHINESE, ENGLISH, GPT_BERT, load, make_run

TEXTS = ["The quick brown fox.", "fox", "", "unbelievably", *CHINESE, *ENGLISH]


def theirs(run: Path, face: str) -> Any:
    transformers = pytest.importorskip("transformers")
    name = {"encoder": "AutoModelForMaskedLM", "decoder": "AutoModelForCausalLM"}[face]
    return getattr(transformers, name).from_pretrained(run / face).eval()


def log_shares(model: Any, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        shares: torch.Tensor = model(input_ids=torch.tensor([tokens])).logits[0].double().log_softmax(-1)
    return shares


def test_causal_is_the_sum_over_transformers_logits(run: Path, loaded: LanguageModel) -> None:
    model = theirs(run, "decoder")
    for text, found in zip(TEXTS, loaded.score(TEXTS), strict=True):
        tokens = [2, *loaded.engine.tokenizer.encode(text)]
        shares = log_shares(model, tokens)
        expected = sum(shares[i, token].item() for i, token in enumerate(tokens[1:]))
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


def one_by_one(model: Any, found: LanguageModel, text: str, *, within_word: bool, shift: int = 0) -> float:
    own = found.engine.tokenizer
    tokens = [2, *own.encode(text), 3]
    starts = own.word_starts(tokens)
    total = 0.0
    for place in range(1, len(tokens) - 1):
        hidden = list(tokens)
        hidden[place] = 4
        later = place + 1
        while within_word and not starts[later]:
            hidden[later] = 4
            later += 1
        total += log_shares(model, hidden)[place - shift, tokens[place]].item()
    return total


@pytest.mark.parametrize("within_word", [False, True])
@pytest.mark.parametrize("kind", ["run", "wordpiece_run"])
def test_pseudo_is_an_explicit_loop_over_transformers_logits(
    kind: str, within_word: bool, request: pytest.FixtureRequest
) -> None:
    run: Path = request.getfixturevalue(kind)
    found, model = load(run), theirs(run, "encoder")
    scores = found.score(TEXTS, how="pseudo", within_word=within_word)
    for text, nats in zip(TEXTS, scores, strict=True):
        assert nats == pytest.approx(one_by_one(model, found, text, within_word=within_word), rel=1e-5, abs=1e-5)


def test_a_long_word_is_less_probable_when_it_cannot_tell_itself(loaded: LanguageModel) -> None:
    own = loaded.engine.tokenizer
    assert len(own.encode("xylophone")) > 2
    assert loaded.score("xylophone", how="pseudo") != loaded.score("xylophone", how="pseudo", within_word=True)
    single = "fox" if len(own.encode("fox")) == 1 else "x"
    alone = loaded.score(single, how="pseudo", within_word=True)
    assert loaded.score(single, how="pseudo") == pytest.approx(alone, rel=1e-5)


def test_the_end_of_a_text_is_counted_if_asked_for(loaded: LanguageModel) -> None:
    """Once, behind the last part of a text that is longer than the model reads."""
    engine = loaded.engine
    for text in ("the fox", " is" * 100):
        apart = score(engine, [text, "x"], ended=True) - score(engine, [text, "x"])
        *_, last = engine.rows([text], closed=False)[0]
        with torch.no_grad():
            following = engine.model.logits(engine.read([last], face="decoder")[0, -1]).log_softmax(-1)
        assert apart[0] == pytest.approx(float(following[engine.tokenizer.vocabulary.sep]), rel=1e-3)
    with pytest.raises(UsageError, match="ended is for"):
        score(engine, ["x"], how="pseudo", ended=True)


def test_a_text_that_is_counted_to_its_end_is_cut_where_the_model_ends(
    loaded: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing stands before a text too, and though texts were cut to less when it was fine-tuned."""
    monkeypatch.setattr(type(loaded.engine), "around", lambda engine, *, closed: ((), ()))
    whole = score(loaded.engine, [" is" * 100], ended=True)
    monkeypatch.setattr(loaded.engine.tokenizer, "length", 16)
    assert loaded.engine.length == 16
    assert score(loaded.engine, [" is" * 100], ended=True) == pytest.approx(whole)


def test_gpt_bert_is_read_one_place_before(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", GPT_BERT)
    found, model = load(run), theirs(make_run(tmp_path / "other"), "encoder")  # the same weights
    for text in ("The quick brown fox.", "unbelievably"):
        expected = one_by_one(model, found, text, within_word=False, shift=1)
        assert found.score(text, how="pseudo") == pytest.approx(expected, rel=1e-5)


def test_batches_of_any_size_give_the_same(loaded: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[dict[str, Any]] = [{}, {"how": "pseudo"}, {"how": "pseudo", "within_word": True}]
    expected = [loaded.score(TEXTS, **way) for way in ways]
    monkeypatch.setattr("bothways.inference.engine.TOKENS_AT_ONCE", 50)
    monkeypatch.setattr("bothways.inference.engine.LOGITS_AT_ONCE", 700)
    for way, scores in zip(ways, expected, strict=True):
        assert np.allclose(loaded.score(TEXTS, **way), scores, rtol=1e-5)


def test_one_text_gives_one_number(loaded: LanguageModel) -> None:
    score = loaded.score("the fox")
    assert isinstance(score, float) and score < 0
    assert loaded.score([]).shape == (0,) and loaded.score([], how="pseudo").shape == (0,)
    assert loaded.score([""])[0] == 0 and loaded.score("", how="pseudo") == 0


def test_a_mask_in_the_text_is_six_characters(loaded: LanguageModel) -> None:
    own = loaded.engine.tokenizer
    assert 4 not in own.encode("[MASK]")
    assert loaded.score("[MASK]") < 0


@pytest.mark.parametrize("how", ["causal", "pseudo"])
def test_a_long_text_is_scored_in_parts(loaded: LanguageModel, how: str) -> None:
    """Of nearly one length, each opened by [CLS]."""
    assert len(loaded.engine.tokenizer.encode(" is" * 100)) == 100
    long, x, half = loaded.score([" is" * 100, "x", " is" * 50], how=how)
    assert long == pytest.approx(2 * half, rel=1e-5)
    assert x == pytest.approx(loaded.score("x", how=how), rel=1e-5)


def test_what_is_refused(loaded: LanguageModel) -> None:
    with pytest.raises(UsageError, match=r"unknown way of scoring 'causel'.*Did you mean 'causal'"):
        loaded.score("x", how="causel")
    with pytest.raises(UsageError, match="within_word hides tokens"):
        loaded.score("x", within_word=True)
