"""Files asked about by a pattern: predictions, scores, examples that are shown, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bothways.errors import DataError, UsageError
from bothways.inference import LanguageModel
from bothways.tasks.pattern import Pattern
from bothways.tasks.records import Skipped, refuse
from bothways.training.prompting import PromptConfig, find_words, prompt_file
from bothways.training.prompting.file import shots
from tests.inference.made import load
from tests.tasks.conftest import reviews, write

PATTERN, WORDS = "{text} It was [MASK].", "good=quick,bad=lazy"


@pytest.fixture(scope="module")
def model(body: Path) -> LanguageModel:
    return load(body)


def config(**changes: Any) -> PromptConfig:
    return PromptConfig(**{"pattern": PATTERN, "verbaliser": WORDS, **changes})


def test_predictions_are_those_of_the_method(model: LanguageModel, tmp_path: Path) -> None:
    records = [{"id": f"r{i}", "text": text} for i, text in enumerate(("a film", "the fox", "so bad"))]
    file = write(tmp_path / "texts.jsonl", *records)
    found = prompt_file(model.engine, file, config(), out=tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    labels = model.prompt([one["text"] for one in records], PATTERN, WORDS)
    assert (found.count, found.evaluation) == (3, None)
    assert [(one["id"], one["label"]) for one in lines] == [
        (record["id"], label.label) for record, label in zip(records, labels, strict=True)
    ]
    np.testing.assert_allclose(
        [list(one["probabilities"].values()) for one in lines],
        [list(label.probabilities.values()) for label in labels],
        rtol=1e-4,
    )
    assert list(tmp_path.glob(".*")) == []


def test_labels_in_the_file_are_measured_by(model: LanguageModel, tmp_path: Path) -> None:
    file = write(tmp_path / "test.jsonl", *reviews(4))
    scores = prompt_file(model.engine, file, config()).evaluation
    labels = model.prompt([one["text"] for one in reviews(4)], PATTERN, WORDS)
    right = np.mean([label.label == one["label"] for label, one in zip(labels, reviews(4), strict=True)])
    assert scores is not None
    assert scores["accuracy"] == pytest.approx(right)
    low, high = scores["intervals"]["accuracy"]
    assert low <= right <= high
    assert scores["majority"]["scores"]["accuracy"] == 0.5
    assert {*scores["intervals"]} == {*scores.scores} == {"accuracy", "macro_f1", "matthews", "f1"}


def test_columns_are_named_by_the_pattern(model: LanguageModel, tmp_path: Path) -> None:
    named = write(tmp_path / "named.jsonl", {"Überschrift": "a film", "body": "so bad", "text": "x", "stars": 1})
    by_name = config(pattern="{Überschrift}: {body} It was [MASK].", verbaliser={1: "quick", 2: "lazy"})
    found = prompt_file(model.engine, named, by_name, out=tmp_path / "out.jsonl", columns={"label": "stars"})
    (line,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    pair = model.prompt(("a film", "so bad"), "{text_a}: {text_b} It was [MASK].", {1: "quick", 2: "lazy"})
    assert line["label"] == pair.label  # type: ignore[union-attr] # of one
    assert found.evaluation is not None
    with pytest.raises(UsageError, match="named.jsonl: expected a column 'nowhere' for text, got Überschrift, body"):
        prompt_file(model.engine, named, config(pattern="{nowhere} It was [MASK]."))
    with pytest.raises(DataError, match="one.jsonl, line 1: expected 2 texts, got 1"):
        prompt_file(
            model.engine, write(tmp_path / "one.jsonl", {"text": "a"}), config(pattern="{text_a} {text_b} [MASK]")
        )


def test_shots_are_so_many_of_each_label_by_the_seed(tmp_path: Path) -> None:
    examples = write(tmp_path / "train.jsonl", *reviews(8))
    words, pattern = {"good": "quick", "bad": "lazy"}, Pattern.parse(PATTERN)

    def drawn(**changes: Any) -> list[tuple[tuple[str, ...], str]]:
        return shots(config(examples=examples, **changes), pattern, words, None, refuse)

    assert [label for _, label in drawn(shots=3)].count("good") == 3
    assert len({texts for texts, _ in drawn(shots=3)}) == 6
    assert drawn(shots=3) == drawn(shots=3)
    assert drawn(shots=3) != drawn(shots=3, seed=1)
    with pytest.raises(DataError, match="train.jsonl: expected 25 examples of 'good', got 24"):
        drawn(shots=25)
    with pytest.raises(UsageError, match="examples is given: expected --shots K"):
        drawn(shots=0)
    with pytest.raises(UsageError, match="shots is given: expected --examples FILE"):
        shots(config(shots=2), pattern, words, None, refuse)


def test_shown_examples_are_counted_and_dropped_ones_told(model: LanguageModel, tmp_path: Path) -> None:
    file = write(tmp_path / "test.jsonl", {"text": "dog " * 45}, {"text": "a"})
    shown = config(examples=write(tmp_path / "train.jsonl", *reviews(8)), shots=1)
    found = prompt_file(model.engine, file, shown)
    assert found.shown == 2
    texts = shots(shown, Pattern.parse(PATTERN), {"good": "quick", "bad": "lazy"}, None, refuse)
    expected = (f"{text} It was {'quick' if label == 'good' else 'lazy'}.\n" for (text,), label in texts)
    assert found.tokens == sum(len(model.tokenizer.encode(one)) for one in expected)
    assert found.notes == ["read without all examples, which do not fit: 1 of 2 texts"]


def test_a_label_without_a_word_is_refused_by_file_and_line(model: LanguageModel, tmp_path: Path) -> None:
    file = write(tmp_path / "test.jsonl", *reviews(1), {"text": "dog", "label": "so so"})
    with pytest.raises(
        DataError, match="test.jsonl, line 7: expected a label that the verbaliser has, good, bad, got 's"
    ):
        prompt_file(model.engine, file, config())
    skipped = Skipped()
    assert prompt_file(model.engine, file, config(), skip=skipped).count == 6
    assert "line 7" in skipped.found[0]


def test_out_is_never_the_file_that_is_read(model: LanguageModel, tmp_path: Path) -> None:
    file = write(tmp_path / "test.jsonl", *reviews(1))
    with pytest.raises(UsageError, match="is the file that is read"):
        prompt_file(model.engine, file, config(), out=file)


def test_words_are_found_in_a_file(model: LanguageModel, tmp_path: Path) -> None:
    file = write(tmp_path / "train.jsonl", *reviews(4))
    found = find_words(model.engine, file, PATTERN, top_k=2)
    assert [len(found[label]) for label in ("bad", "good")] == [2, 2]
    words = {label: some[0].word for label, some in found.items()}
    assert prompt_file(model.engine, file, config(verbaliser=words)).count == 24
    odd = write(tmp_path / "odd.jsonl", {"text": "a", "label": ["x", "y"]})
    with pytest.raises(DataError, match="odd.jsonl, line 1: expected one label, got a list"):
        find_words(model.engine, odd, PATTERN)
