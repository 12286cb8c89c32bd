"""What `evaluate` gives: a dictionary, which prints as a table and is one of pandas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bothways.errors import UsageError
from bothways.training.finetuning import evaluate, finetune_multitask, predict
from bothways.training.finetuning.evaluate import Evaluation
from tests.tasks.conftest import reviews, write
from tests.training.finetuning.together import NAMES, one_task, several

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


def test_of_several_tasks_settings_reach_those_that_take_them(tmp_path: Path, body: Path) -> None:
    pytest.importorskip("rouge_score")
    records = [{"text": f"The {one} ran. It was {one}. Night fell.", "summary": f"The {one} ran."} for one in NAMES]
    mood, file = one_task(tmp_path, "mood"), write(tmp_path / "gist.jsonl", *records)
    tasks = [mood | {"dev": mood["train"]}, {"name": "gist", "task": "extract", "train": str(file), "dev": str(file)}]
    run = finetune_multitask(several(tmp_path, body, *tasks, epochs=1))
    plain, short = evaluate(run), evaluate(run, sentences=1, trigram_blocking=False)
    assert short["tasks"]["mood"].scores == plain["tasks"]["mood"].scores
    lengths = [{len(one["sentences"]) for one in predict(run, file, task="gist", sentences=n)} for n in (1, 2)]
    assert lengths == [{1}, {2}]
    with pytest.raises(UsageError, match="sentences is for extract, and this model was fine-tuned to classify"):
        evaluate(run, task="mood", sentences=1)
