"""Several seeds: the runs are those of single seeds, and their mean has Student's interval."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bothways.claims import CLAIM
from bothways.errors import UsageError
from bothways.statistics import Mean
from bothways.training.finetuning import evaluate, finetune, finetune_multitask, finetune_seeds, predict
from tests.tasks.conftest import config, write
from tests.training.finetuning.together import one_task, several


def test_a_mean_has_students_interval() -> None:
    found = Mean.of([1.0, 2.0, 3.0])
    assert found.mean == 2.0 and found.half == pytest.approx(4.302653 * 1.0 / 3**0.5, rel=1e-6)
    assert math.isnan(Mean.of([1.0]).half)


def test_three_seeds_are_three_runs_and_the_best_is_kept(body: Path, tmp_path: Path) -> None:
    told = config(tmp_path, body, epochs=1)
    told = told.model_copy(update={"test": told.train})
    (told.out / "tasks").mkdir(parents=True)
    own = write(told.out / "tasks" / "mine.jsonl", {"text": "not ours"})
    means = finetune_seeds(told, 3)
    assert own.is_file()
    assert means["seeds"] == ["seed-0", "seed-1", "seed-2"]
    values = means["dev"]["accuracy"]["values"]
    assert values[int(means["kept"][-1])] == max(values)
    assert means["test"]["accuracy"]["mean"] == pytest.approx(sum(means["test"]["accuracy"]["values"]) / 3)
    assert json.loads((told.out / "manifest.json").read_text())["dev"] == means["dev"]
    assert evaluate(told.out, told.train)["examples"] == 48
    assert json.loads((told.out / "manifest.json").read_text())["roles"] == {"text": "text", "label": "label"}

    alone = finetune(told.model_copy(update={"seed": 1, "out": tmp_path / "alone"}))
    one, other = (load_file(run / "model" / "model.safetensors") for run in (alone, told.out / "seed-1"))
    assert all(torch.equal(one[name], weight) for name, weight in other.items())

    before = (told.out / "seed-1" / "metrics.jsonl").stat().st_mtime_ns
    (told.out / "seed-1" / CLAIM).touch()  # of one that was killed after its last word
    assert finetune_seeds(told, 3) == means
    assert not (told.out / "seed-1" / CLAIM).exists()
    assert (told.out / "seed-1" / "metrics.jsonl").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="seed-0 was started with other settings"):
        finetune_seeds(told.model_copy(update={"batch": 4}), 3)
    with pytest.raises(UsageError, match="alone holds a run of one seed; choose another --out"):
        finetune_seeds(told.model_copy(update={"out": alone}), 2)


def test_seeds_of_several_tasks_are_runs_of_several_tasks(body: Path, tmp_path: Path) -> None:
    mood = one_task(tmp_path, "mood")
    told = several(tmp_path, body, mood | {"test": mood["train"]}, "stars", epochs=1)
    means = finetune_seeds(told, 2)
    assert [*means["dev"]] == ["mean", "mood", "stars"] and [*means["test"]] == ["mean", "mood"]
    values = means["dev"]["mean"]["values"]
    assert means["kept"] == f"seed-{values.index(max(values))}"
    found = evaluate(told.out)  # the best run's model, on the files that it names
    assert {*found["tasks"]} == {"mood", "stars"}
    assert "48 of 48 texts stand in the training file too" in " ".join(found["tasks"]["mood"]["warnings"])
    assert len(predict(told.out, tmp_path / "mood.jsonl", task="mood")) == 48
    alone = finetune_multitask(told.model_copy(update={"seed": 1, "out": tmp_path / "alone"}))
    for file in ("model.safetensors", "head.safetensors"):
        one, other = (load_file(run / "model" / file) for run in (alone, told.out / "seed-1"))
        assert all(torch.equal(one[name], weight) for name, weight in other.items())
    assert finetune_seeds(told, 2) == means
    with pytest.raises(UsageError, match="seed-0 was started with other settings"):
        finetune_seeds(told.model_copy(update={"batch": 4}), 2)
