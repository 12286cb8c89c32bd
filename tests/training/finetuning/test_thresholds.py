"""Thresholds: the best F1 on the dev examples, kept in the model, and said from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

import bothways
from bothways.errors import UsageError
from bothways.model import TaskHead
from bothways.tasks.task import Example
from bothways.training.finetuning import finetune
from bothways.training.finetuning.thresholds import best_thresholds
from bothways.training.run_folder import RunFolder
from tests.tasks.conftest import config, reviews, write


@given(st.lists(st.tuples(st.sampled_from([0.05, 0.2, 0.35, 0.5, 0.8]), st.booleans()), min_size=1, max_size=30))
def test_no_other_threshold_gives_a_better_f1(given: list[tuple[float, bool]]) -> None:
    answers = TaskHead("classify", "label", ("no", "yes"), "one", "encoder")
    said: list[dict[str, Any]] = [{"probabilities": {"no": 1 - chance, "yes": chance}} for chance, _ in given]
    examples = [Example(i, ("",), "yes" if right else "no", "") for i, (_, right) in enumerate(given)]
    (found,) = best_thresholds(examples, said, answers)

    def f1(threshold: float) -> float:
        return float(f1_score([right for _, right in given], [c >= threshold for c, _ in given], zero_division=0))

    assert f1(found) == pytest.approx(max(f1(cut) for cut in (0.0, 0.1, 0.25, 0.4, 0.6, 0.9)))


def test_a_rare_label_is_given_from_its_threshold_on(tmp_path: Path, body: Path) -> None:
    rare = [record for record in reviews(10) if record["label"] == "bad" or record["text"].startswith("quite")]
    train = write(tmp_path / "data.jsonl", *rare)
    run = finetune(config(tmp_path, body, train=train, dev=train, epochs=2, thresholds="tuned"))
    (threshold,) = RunFolder(run).manifest()["thresholds"]
    model = bothways.load(run, device="cpu")
    head = model.engine.abilities.only_head
    assert head is not None and head.thresholds == (threshold,)
    for one in model.classify([record["text"] for record in rare]):
        assert one.label == ("good" if one.probabilities["good"] >= threshold else "bad")
    half = finetune(config(tmp_path / "half", body, train=train, dev=train, epochs=2))
    best, plain = (RunFolder(folder).manifest()["best"]["scores"]["f1"] for folder in (run, half))
    assert best >= plain - 1e-9


def test_of_more_than_two_labels_there_is_none_to_tune(tmp_path: Path, body: Path) -> None:
    three = [record | {"label": f"{record['label']} {i % 2}"} for i, record in enumerate(reviews(4))]
    train = write(tmp_path / "data.jsonl", *three)
    with pytest.raises(UsageError, match="thresholds=tuned is for two labels"):
        finetune(config(tmp_path, body, train=train, dev=train, thresholds="tuned"))
