"""Soft labels: a share of each label in a record is what is taught, and the gold label what is measured by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bothways.batch import Sample
from bothways.errors import DataError
from bothways.tasks.classify import Classify
from bothways.tasks.packing import pack
from bothways.tasks.reading import named, read_examples
from bothways.tasks.records import refuse
from bothways.training.finetuning import finetune
from bothways.training.finetuning.setup import set_up
from bothways.training.finetuning.teachers import Teacher
from bothways.training.processes import processes
from tests.inference.made import tokenizer
from tests.tasks.conftest import config, reviews, write

SOFT = {"good": 0.75, "bad": 0.25}


def soft_reviews(times: int) -> list[dict[str, Any]]:
    return [
        {**one, "soft_labels": {"good": 0.9, "bad": 0.1} if one["label"] == "good" else SOFT} for one in reviews(times)
    ]


def encoded(tmp_path: Path, *records: dict[str, Any]) -> tuple[Any, list[Sample]]:
    task, file = Classify(), write(tmp_path / "soft.jsonl", *records)
    _, examples = read_examples(task, file, skip=refuse)
    head = task.head(examples, reads="encoder")
    return head, [task.encode(one, tokenizer("wordpiece"), head, length=32)[0] for one in examples]


def test_the_shares_are_what_is_taught(tmp_path: Path) -> None:
    head, samples = encoded(tmp_path, {"text": "a", "label": "bad", "soft_labels": SOFT | {"fair": 0.0}})
    assert head.labels == ("bad", "fair", "good")
    np.testing.assert_allclose(samples[0].targets[0].labels, [[0.25, 0.0, 0.75]])


def test_a_run_learns_their_cross_entropy_and_is_measured_by_the_label(tmp_path: Path, body: Path) -> None:
    train = write(tmp_path / "soft.jsonl", *soft_reviews(4))
    chosen = config(tmp_path, body, train=train, dev=train, epochs=1)
    with processes(device="cpu") as team:
        run = set_up(chosen.model_copy(update={"out": tmp_path / "looked"}), team, resume=False)
    batch = pack([parts[0] for parts in run.parts]).batch
    target = batch.targets[0]
    logits = run.model.head("label").logits(run.model.hidden_at(batch)[0], target)
    loss, weight = run.model.head("label").loss(logits, target)
    expected = -(torch.as_tensor(target.labels) * F.log_softmax(logits, -1)).sum(-1).mean()
    assert float((loss / weight).detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    out = finetune(chosen)
    assert (out / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "soft", [None, {}, {"good": 0.5, "bad": 0.6}, {"good": 1.5, "bad": -0.5}, {"good": True}, [0.5, 0.5], "good"]
)
def test_what_are_no_shares_is_refused_by_file_and_line(tmp_path: Path, soft: object) -> None:
    records = [*soft_reviews(1), {"text": "a", "label": "good", "soft_labels": soft}]
    with pytest.raises(DataError, match="soft.jsonl, line 7: field 'soft_labels': expected a share for each label"):
        encoded(tmp_path, *records)


def test_lists_of_labels_have_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1: field 'soft_labels': expected no soft labels beside a list"):
        encoded(tmp_path, {"text": "a", "label": ["good"], "soft_labels": SOFT})


def test_a_soft_label_that_was_not_trained_is_refused(tmp_path: Path) -> None:
    task, file = Classify(), write(tmp_path / "dev.jsonl", {"text": "a", "label": "good", "soft_labels": {"so so": 1}})
    _, examples = read_examples(task, write(tmp_path / "train.jsonl", *reviews(1)), skip=refuse)
    head = task.head(examples, reads="encoder")
    _, (odd,) = read_examples(task, file, skip=refuse)
    assert task.check(odd, head) == "the soft label 'so so' was not trained; known: bad, good"


def test_numbers_get_their_names(tmp_path: Path) -> None:
    file = write(tmp_path / "soft.jsonl", {"text": "a", "label": 1, "soft_labels": {"0": 0.25, "1": 0.75}})
    _, examples = read_examples(Classify(), file, skip=refuse)
    (one,) = named(examples, ("bad", "good"), refuse)
    assert (one.gold, one.soft) == ("good", {"bad": 0.25, "good": 0.75})


def test_a_teacher_is_mixed_with_them(tmp_path: Path) -> None:
    head, samples = encoded(tmp_path, {"text": "a", "label": "good", "soft_labels": SOFT})
    teacher = Teacher.of_logits(np.zeros((1, 2), np.float32), [samples], head)
    (mixed,) = teacher.mixed(samples, 0, 0.5)
    np.testing.assert_allclose(mixed.targets[0].labels, [[0.375, 0.625]])
