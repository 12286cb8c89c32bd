"""Prompts: what models say of labels by a pattern, beside the formulas."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bothways.errors import ModelError, UsageError
from bothways.inference import LanguageModel
from bothways.inference.label_words import _words, label_words
from bothways.inference.prompting import CONTENT_FREE, Prompt, ask
from bothways.tasks.pattern import Pattern
from bothways.tasks.predictions import Label
from tests.inference.made import CAUSAL, ELMO, GPT_BERT, load, make_run

PATTERN, WORDS = "{text} It was [MASK].", {"a": "quick", "b": "fox"}
TEXTS = ["The lazy dog", "A small model learns", "once upon a time"]


@pytest.fixture(scope="module")
def model(wordpiece_run: Path) -> LanguageModel:
    return load(wordpiece_run)


def shares(labels: list[Label]) -> np.ndarray:
    return np.array([list(one.probabilities.values()) for one in labels])


def filled(model: LanguageModel, text: str, words: list[str]) -> np.ndarray:
    """The words' probabilities at the only [MASK] of a text, among themselves."""
    guesses = {guess.token.strip(): guess.probability for guess in model.fill(text, top_k=10_000)[0]}
    found = np.array([guesses[word] for word in words])
    return np.asarray(found / found.sum())


def test_filling_is_what_fill_says_of_the_words(model: LanguageModel) -> None:
    found = model.prompt(TEXTS, PATTERN, WORDS, calibrate=False)
    expected = [filled(model, f"{text} It was [MASK].", [*WORDS.values()]) for text in TEXTS]
    np.testing.assert_allclose(shares(found), expected, rtol=1e-4)
    assert [one.label for one in found] == ["ab"[int(row.argmax())] for row in shares(found)]
    assert model.prompt(TEXTS[0], PATTERN, "a=quick,b=fox", calibrate=False).label == found[0].label


def test_continuing_is_the_mean_over_the_word_and_the_sum_behind_it(model: LanguageModel) -> None:
    words = {"a": "quick", "b": "unbelievably quick fox"}
    found = ask(model.engine, Prompt(Pattern.parse(PATTERN), words, how="continue"), [(text,) for text in TEXTS])
    for text, row in zip(TEXTS, found.scores, strict=True):
        before = f"{text} It was"
        for word, score in zip(words.values(), row, strict=True):
            tokens = len(model.tokenizer.encode(f" {word}"))
            parts = [model.score(one) for one in (before, f"{before} {word}", f"{before} {word}.")]
            assert score == pytest.approx((parts[1] - parts[0]) / tokens + parts[2] - parts[1], abs=1e-4)


def test_a_model_that_only_continues_is_asked_so(tmp_path: Path) -> None:
    causal = load(make_run(tmp_path / "causal", CAUSAL))
    found = causal.prompt(TEXTS, "{text} It was [MASK]", WORDS)
    np.testing.assert_allclose(
        shares(found), shares(causal.prompt(TEXTS, "{text} It was [MASK]", WORDS, how="continue"))
    )
    with pytest.raises(ModelError, match="not taught to fill in hidden words"):
        causal.prompt(TEXTS, PATTERN, WORDS, how="fill")
    with pytest.raises(ModelError, match="not taught to fill in hidden words"):
        load(make_run(tmp_path / "elmo", ELMO)).prompt(TEXTS, PATTERN, WORDS)


def test_a_mask_is_read_one_place_before_where_it_was_taught_so(tmp_path: Path) -> None:
    own = load(make_run(tmp_path / "gpt-bert", GPT_BERT, kind="wordpiece"))
    expected = [filled(own, f"{text} It was [MASK].", [*WORDS.values()]) for text in TEXTS]
    np.testing.assert_allclose(shares(own.prompt(TEXTS, PATTERN, WORDS, calibrate=False)), expected, rtol=1e-4)


def test_words_of_one_token_and_of_two_are_asked_with_their_own_masks(loaded: LanguageModel) -> None:
    """Each label alone: its own number of masks, and the sum of log p at them."""
    words = {"a": "is", "b": "quick"}
    found = ask(loaded.engine, Prompt(Pattern.parse("{text} It was [MASK][MASK]."), words), [(TEXTS[0],)]).scores[0]
    engine = loaded.engine
    for word, score in zip(words.values(), found, strict=True):
        tokens = loaded.tokenizer.encode(f" {word}")
        (row,) = engine.marked_rows([f"{TEXTS[0]} It was {'[MASK]' * len(tokens)}."])
        places = np.flatnonzero(row == loaded.tokenizer.vocabulary.mask)
        states = engine.read([row], face="encoder")[0][torch.from_numpy(places)]
        assert score == pytest.approx(float(engine.log_probabilities(states, np.array(tokens)).sum()), abs=1e-4)


@pytest.mark.parametrize("how", ["fill", "continue"])
def test_calibration_divides_by_what_is_said_of_nothing(model: LanguageModel, how: Any) -> None:
    plain = shares(model.prompt(TEXTS, PATTERN, WORDS, how=how, calibrate=False))
    prior = shares(model.prompt(list(CONTENT_FREE), PATTERN, WORDS, how=how, calibrate=False)).mean(0)
    expected = plain / prior / (plain / prior).sum(1, keepdims=True)
    np.testing.assert_allclose(
        shares(model.prompt(TEXTS, PATTERN, WORDS, how=how, calibrate=True)), expected, rtol=1e-4
    )


@pytest.mark.parametrize("how", ["fill", "continue"])
def test_examples_stand_before_the_text_the_last_one_nearest(model: LanguageModel, how: Any) -> None:
    examples = [("one", "a"), ("two", "b")]
    shown = "one It was quick.\ntwo It was fox.\n"
    expected = model.prompt([shown + TEXTS[0]], PATTERN, WORDS, how=how, calibrate=False)
    found = model.prompt([TEXTS[0]], PATTERN, WORDS, how=how, calibrate=False, examples=examples)
    np.testing.assert_allclose(shares(found), shares(expected), rtol=1e-4)


@pytest.mark.parametrize("how", ["fill", "continue"])
def test_what_does_not_fit_is_dropped_or_cut_never_the_pattern(model: LanguageModel, how: Any) -> None:
    """First the oldest example goes, then all of them, then the text's end."""
    examples, long = [("dog " * 25, "a"), ("two", "b")], "fox " * 100
    plain: dict[str, Any] = {"how": how, "calibrate": False}
    with pytest.warns(UserWarning, match="without all examples, which do not fit: 1 of 1"):
        found = model.prompt(["dog " * 20], PATTERN, WORDS, examples=examples, **plain)
    expected = model.prompt(["dog " * 20], PATTERN, WORDS, examples=examples[1:], **plain)
    np.testing.assert_allclose(shares(found), shares(expected), rtol=1e-4)
    with pytest.warns(UserWarning, match="without all"), pytest.warns(UserWarning, match="beside the pattern: 1 of 1"):
        cut = model.prompt(long, PATTERN, WORDS, examples=examples[1:], **plain)
    assert isinstance(cut, Label)
    with pytest.raises(UsageError, match="tokens without a text; the model reads at most 64"):
        model.prompt("dog", "{text} " + "fox " * 100 + "[MASK]", WORDS, **plain)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.prompt("dog", PATTERN, WORDS, examples=examples[1:], **plain)


def test_pairs_and_masks_in_texts(model: LanguageModel) -> None:
    """A text with the letters [MASK] in it hides nothing."""
    pair = "{text_a}? [MASK], {text_b}"
    found = model.prompt([("one", "two"), ("a [MASK]", "dog")], pair, WORDS, calibrate=False)
    np.testing.assert_allclose(shares(found)[0], filled(model, "one? [MASK], two", [*WORDS.values()]), rtol=1e-4)
    (row,) = [model.tokenizer.encode("a [MASK]? ")]
    assert model.tokenizer.vocabulary.mask not in row
    with pytest.raises(UsageError, match="expected 2 texts an example, got 1"):
        model.prompt(["one"], pair, WORDS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"examples": ["one"]}, "example 1: expected a text, or a pair of them, and its label, got 'one'"),
        ({"examples": [("one", "c")]}, "an example has the label 'c'; the verbaliser has: a, b"),
        ({"how": "sing"}, "unknown way of asking 'sing'"),
        ({"pattern": "[MASK] {text}", "how": "continue"}, None),
        ({"verbaliser": "a=quick,b=unbelievably so"}, "one token for 'b'"),
    ],
)
def test_what_is_asked_wrongly_is_refused_by_name(model: LanguageModel, change: dict[str, Any], says: str) -> None:
    given = {"pattern": PATTERN, "verbaliser": WORDS, **change}
    if says is None:  # [CLS] stands before the word
        assert isinstance(model.prompt("dog", **given), Label)
        return
    with pytest.raises(UsageError, match=says):
        model.prompt("dog", **given)


def test_a_word_may_stand_first_where_nothing_is_put_before_a_text(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of decoders without a token that begins a text: a text that says nothing is one that ended before."""
    monkeypatch.setattr(type(model.engine), "around", lambda engine, *, closed: ((), ()))
    found = model.prompt(TEXTS, "{text} [MASK]", WORDS, how="continue")
    assert [type(one) for one in found] == [Label] * len(TEXTS)
    first = ask(model.engine, Prompt(Pattern.parse("[MASK] {text}"), WORDS, how="continue"), [("",)]).scores[0]
    monkeypatch.undo()
    cls = ask(model.engine, Prompt(Pattern.parse("[MASK] {text}"), WORDS, how="continue"), [("",)]).scores[0]
    np.testing.assert_allclose(first, cls, rtol=1e-4)  # here that token is [CLS]


def test_no_texts_have_no_labels(model: LanguageModel) -> None:
    assert model.prompt([], PATTERN, WORDS) == []


@pytest.mark.parametrize("how", ["fill", "continue"])
def test_words_for_labels_have_the_best_odds(model: LanguageModel, how: Any) -> None:
    """Beside the definition: the mean of log p / (1 - p) over a label's texts, less that over the others."""
    examples = [((text,), label) for text, label in zip(TEXTS, ("x", "y", "y"), strict=True)]
    found = label_words(model.engine, Pattern.parse(PATTERN), examples, how=how, top_k=3)
    words = {model.tokenizer.text_of(int(one)): int(one) for one in _words(model.engine, Pattern.parse(PATTERN))}
    assert {"quick", "fox"} <= words.keys()
    odds = []
    for text in TEXTS:
        if how == "fill":
            (row,) = model.engine.marked_rows([f"{text} It was [MASK]."])
            place = int(np.flatnonzero(row == model.tokenizer.vocabulary.mask)[0])
            state = model.engine.read([row], face="encoder")[0, place]
        else:
            (row,), _ = model.engine.rows([f"{text} It was"], closed=False)
            state = model.engine.read([row], face="decoder")[0, -1]
        share = model.engine.logits(state).softmax(-1)[list(words.values())].double().numpy()
        odds.append(np.log(share / (1 - share)))
    ratio = odds[0] - (odds[1] + odds[2]) / 2
    best = sorted(zip(ratio, words, strict=True), reverse=True)[:3]
    assert [one.word for one in found["x"]] == [word for _, word in best]
    np.testing.assert_allclose([one.odds for one in found["x"]], [value for value, _ in best], rtol=1e-3)
    assert {one.word for one in found["x"]}.isdisjoint(one.word for one in found["y"])


def test_words_are_found_for_one_mask_and_two_labels(model: LanguageModel) -> None:
    with pytest.raises(UsageError, match="for one \\[MASK\\], got 2"):
        label_words(model.engine, Pattern.parse("{text} [MASK][MASK]"), [(("a",), "x"), (("b",), "y")])
    with pytest.raises(ValueError, match="two labels or more to find words by, got x"):
        label_words(model.engine, Pattern.parse(PATTERN), [(("a",), "x")])
