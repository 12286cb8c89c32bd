"""Filling in: as transformers' pipeline does, and as the objective laid the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bothways.errors import UsageError
from bothways.inference import LanguageModel
from bothways.visibility import Layout, ordered
from tests.inference.made import CHINESE, GPT_BERT, load, make_run


@pytest.mark.parametrize("kind", ["run", "wordpiece_run"])
@pytest.mark.parametrize(
    "text", ["The quick [MASK] fox.", "[MASK] upon a time", "今天[MASK]气很好。", "a small [MASK]"]
)
def test_the_fill_mask_pipeline_says_the_same(kind: str, text: str, request: pytest.FixtureRequest) -> None:
    transformers = pytest.importorskip("transformers")
    run: Path = request.getfixturevalue(kind)
    pipeline = transformers.pipeline("fill-mask", model=str(run / "encoder"), device="cpu")
    own = load(run).engine.tokenizer
    special = own.vocabulary.special  # which transformers offers too
    expected = [e for e in pipeline(text, top_k=4 + len(special)) if e["token"] not in special][:4]
    (found,) = load(run).fill(text, top_k=4)
    assert [guess.probability for guess in found] == pytest.approx([e["score"] for e in expected], rel=1e-4)
    assert [guess.token for guess in found] == [own.decode([e["token"]]) or e["token_str"] for e in expected]


def test_every_mask_is_answered_and_the_text_is_filled(loaded: LanguageModel) -> None:
    first, second = loaded.fill("the [MASK] fox [MASK] over", top_k=3)
    assert len(first) == len(second) == 3
    assert [g.probability for g in first] == sorted((g.probability for g in first), reverse=True)
    for guess in first:
        assert guess.text == f"the{guess.token} fox{second[0].token} over"
    for guess in second:
        assert guess.text == f"the{first[0].token} fox{guess.token} over"


def test_several_texts_are_answered_as_one_by_one(loaded: LanguageModel) -> None:
    texts = ["the [MASK] fox", "[MASK]", "从前有一[MASK]山", "a [MASK] model [MASK] unbelievably little from so few"]
    together = loaded.fill(texts, top_k=2)
    for text, found in zip(texts, together, strict=True):
        alone = loaded.fill(text, top_k=2)
        assert [[g.token for g in guesses] for guesses in found] == [[g.token for g in guesses] for guesses in alone]
        for mine, theirs in zip(found, alone, strict=True):
            assert [g.probability for g in mine] == pytest.approx([g.probability for g in theirs], rel=1e-4)


def test_gpt_bert_answers_one_place_before(tmp_path: Path) -> None:
    found = load(make_run(tmp_path / "run", GPT_BERT))
    own, model = found.engine.tokenizer, found.engine.model
    tokens = [2, *own.encode_marked("the quick [MASK] fox"), 3]
    place = tokens.index(4)
    layout = Layout.stack([Layout.of(document=np.zeros(len(tokens)), step=np.zeros(len(tokens)))])
    with torch.no_grad():
        states = model.backbone(torch.tensor([tokens]), layout, ordered.dense(layout))
        share = model.logits(states)[0, place - 1].softmax(-1)
    ((guess,),) = found.fill("the quick [MASK] fox", top_k=1)
    assert guess.probability == pytest.approx(share.max().item(), rel=1e-5)


def test_a_word_may_be_more_than_one_token_of_chinese(loaded: LanguageModel) -> None:
    assert len(loaded.fill(CHINESE[0].replace("天气", "[MASK][MASK]"))) == 2


def test_no_mask_is_an_error_that_says_what_to_do(loaded: LanguageModel) -> None:
    with pytest.raises(UsageError, match=r"text 2 has no \[MASK\]: 'the fox'. Write \[MASK\] where"):
        loaded.fill(["[MASK]", "the fox"])


def test_a_text_too_long_is_named(loaded: LanguageModel) -> None:
    with pytest.raises(UsageError, match=r"text 1 \('the the.*has \d+ tokens.*at most 64. Leave out"):
        loaded.fill("the " * 70 + "[MASK]")


def test_top_k(loaded: LanguageModel) -> None:
    with pytest.raises(UsageError, match="top_k is how many guesses are wanted, 1 or more, got 0"):
        loaded.fill("[MASK]", top_k=0)


def test_special_tokens_are_never_offered(loaded: LanguageModel) -> None:
    """Their share is not dealt out to the others: a probability is that of the model."""
    engine = loaded.engine
    special = sorted(engine.tokenizer.vocabulary.special)
    with torch.no_grad():
        engine.model.table[special] *= 3.0  # so that they would be among the first
    try:
        ((first, *_),) = loaded.fill("the [MASK] fox", top_k=1)
        everything = loaded.fill("the [MASK] fox", top_k=10_000)[0]
    finally:
        with torch.no_grad():
            engine.model.table[special] /= 3.0
    names = {engine.tokenizer.tokens([token])[0] for token in special}
    assert not names & {guess.token for guess in everything}
    assert first == everything[0]
    assert len(everything) == engine.model.config.vocabulary - len(special)
    assert 0 < sum(guess.probability for guess in everything) < 1


def test_nothing_asked_nothing_answered(loaded: LanguageModel) -> None:
    assert loaded.fill([]) == []
