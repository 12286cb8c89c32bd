"""Verdicts on words: tokens' chances multiplied, whatever the company, long texts in parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bothways.errors import ModelError
from bothways.inference import LanguageModel
from bothways.model import Abilities
from tests.inference.made import CHINESE, ENGLISH, load, make_run

DETECTOR = Abilities("electra", ("encoder",), None, {"detect": 0})
TEXTS = [*ENGLISH, *CHINESE, "fox", ""]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load(make_run(tmp_path_factory.mktemp("detector") / "run", DETECTOR, heads=("replaced",)))


def test_every_word_is_judged_once(detector: LanguageModel) -> None:
    for text, verdicts in zip(TEXTS, detector.detect(TEXTS), strict=True):
        assert "".join(verdict.word for verdict in verdicts) == text.replace(" ", "")
        assert all(0 <= verdict.replaced <= 1 for verdict in verdicts)


def test_a_word_was_replaced_if_a_token_of_it_was(detector: LanguageModel) -> None:
    engine, text = detector.engine, ENGLISH[0]
    tokens = np.array(
        [engine.tokenizer.vocabulary.cls, *engine.tokenizer.encode(text), engine.tokenizer.vocabulary.sep]
    )
    with torch.no_grad():
        logits = engine.model.heads["replaced"](engine.read([tokens], face="encoder"))[0, 1:-1]
    original = (1 - torch.sigmoid(logits)).numpy()
    words = np.cumsum(engine.tokenizer.word_starts(tokens)[1:-1]) - 1
    expected = [1 - original[words == word].prod() for word in range(words[-1] + 1)]
    assert [verdict.replaced for verdict in detector.detect(text)] == pytest.approx(expected, abs=1e-6)


def test_a_verdict_does_not_depend_on_the_company(detector: LanguageModel) -> None:
    for text, together in zip(TEXTS, detector.detect(TEXTS), strict=True):
        alone = detector.detect(text)
        assert [v.word for v in alone] == [v.word for v in together]
        assert [v.replaced for v in alone] == pytest.approx([v.replaced for v in together], abs=1e-5)


def test_a_text_longer_than_the_model_is_judged_whole(detector: LanguageModel) -> None:
    text = " ".join([ENGLISH[0]] * 20)
    assert "".join(verdict.word for verdict in detector.detect(text)) == text.replace(" ", "")


def test_only_a_detector_detects(tmp_path: Path) -> None:
    plain = load(make_run(tmp_path / "run", replace(DETECTOR, decoding={})))
    with pytest.raises(ModelError, match="not taught to tell which words were replaced.*Pretrain one with.*electra"):
        plain.detect("the fox")
