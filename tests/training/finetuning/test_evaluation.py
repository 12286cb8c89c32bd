"""What `evaluate` gives: a dictionary, which prints as a table and is one of pandas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bothways.training.finetuning import evaluate
from bothways.training.finetuning.evaluate import Evaluation
from tests.tasks.conftest import reviews, write

MADE = Evaluation(
    accuracy=0.75,
    macro_f1=0.5,
    examples=4,
    truncated=1,
    tags="",
    majority={"answer": "好评", "scores": {"accuracy": 0.5, "macro_f1": 1 / 3}},
    warnings=["3 of 4 texts stand in the training file too"],
)
NUMBERS = Evaluation(spearman=-0.5, examples=2, truncated=0, tags="", majority=None, warnings=[])


def test_it_prints_as_a_table() -> None:
    assert repr(MADE).splitlines() == [
        "          score   always '好评'",
        "accuracy  0.7500  0.5000",
        "macro_f1  0.5000  0.3333",
        "4 examples, 1 of them cut",
        "warning: 3 of 4 texts stand in the training file too",
    ]
    assert repr(NUMBERS).splitlines() == ["          score", "spearman  -0.5000", "2 examples, 0 of them cut"]
    assert repr(Evaluation(f1=1.0)).splitlines() == ["    score", "f1  1.0000", "0 examples, 0 of them cut"]


def test_it_is_a_table_of_pandas() -> None:
    pytest.importorskip("pandas")
    table = MADE.to_pandas()
    assert table.to_dict("list") == {
        "metric": ["accuracy", "macro_f1"],
        "value": [0.75, 0.5],
        "majority": [0.5, pytest.approx(1 / 3)],
    }
    assert NUMBERS.to_pandas()["majority"].isna().all()


def test_it_stays_a_dictionary(classifier: Path, tmp_path: Path) -> None:
    found = evaluate(classifier, write(tmp_path / "test.jsonl", *reviews(3)))
    assert isinstance(found, Evaluation) and json.loads(json.dumps(found)) == found
    assert [*found.scores] == ["accuracy", "macro_f1", "matthews", "f1"]
    assert {**found} == found and {*found} - {*found.scores} == {
        *("examples", "truncated", "tags", "majority", "baselines", "warnings"),
    }
