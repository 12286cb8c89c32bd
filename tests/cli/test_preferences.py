"""The commands that teach by preferences and take the best of several answers: what they print and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bothways.errors import DataError, ModelError, UsageError
from tests.cli.conftest import Invoke
from tests.inference.made import make_run
from tests.tasks.conftest import write
from tests.training.finetuning.test_preferences import pairs

SHORT = ["--set", "epochs=1", "--set", "batch=8", "--set", "target_length=6", "--set", "dev_generated=4"]


@pytest.fixture(scope="module")
def taught(invoke: Invoke, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    body = make_run(folder / "body", kind="wordpiece")
    train = write(folder / "train.jsonl", *pairs(16))
    files = ["--train", train, "--dev", train, "--test", train]
    for task in ("prefer", "reward"):
        short = SHORT if task == "prefer" else SHORT[:4]
        said = invoke("finetune", body, "--task", task, *files, "--out", folder / task, *short).output
        (folder / f"{task}.txt").write_text(said, encoding="utf-8")
    return folder


def test_what_it_was_before_is_said(taught: Path) -> None:
    said = (taught / "prefer.txt").read_text(encoding="utf-8")
    assert "chosen from 'chosen', rejected from 'rejected'" in said
    assert "before     on test: accuracy 0.5000 (more by " in said and "kl 0.0000" in said
    told = json.loads((taught / "prefer" / "manifest.json").read_text(encoding="utf-8"))
    assert told["status"] == "done" and told["before"]["scores"].keys() == told["test"].keys()


def test_the_best_of_several_texts(invoke: Invoke, taught: Path) -> None:
    asked = ["generate", taught / "prefer", "quick 3", "a dog", "--best-of", 4, "--reward", taught / "reward"]
    told = json.loads(invoke(*asked, "--max-new-tokens", 4, "--json").stdout)
    assert [len(one["rewards"]) for one in told] == [4, 4] and len(told[0]["others"]) == 3
    assert told[0]["rewards"] == sorted(told[0]["rewards"], reverse=True)
    said = invoke(*asked, "--max-new-tokens", 4).stdout
    assert said.split() == f"{told[0]['full_text']} {told[1]['full_text']}".split()


def test_what_goes_together_is_asked_for(invoke: Invoke, taught: Path) -> None:
    for more in (["--best-of", 4], ["--reward", taught / "reward"]):
        with pytest.raises(UsageError, match="--best-of and --reward go together"):
            invoke("generate", taught / "prefer", "quick", *more)
    with pytest.raises(ModelError, match="not to reward. Fine-tune one: bothways finetune MODEL --task reward"):
        invoke("generate", taught / "prefer", "quick", "--best-of", 2, "--reward", taught / "prefer")


def test_bad_records_are_named_or_skipped(invoke: Invoke, taught: Path, tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", *pairs(12), {"prompt": "a fox", "chosen": "dog", "rejected": "dog"})
    asked = ["finetune", taught / "body", "--task", "prefer", "--train", train, "--dev", train, *SHORT]
    with pytest.raises(DataError, match=r"train.jsonl, line 13: field 'rejected': expected an answer that differs"):
        invoke(*asked, "--out", tmp_path / "strict")
    said = invoke(*asked, "--out", tmp_path / "lenient", "--skip-bad").output
    assert "examples   12 train" in said and "skipped" in said


def test_preferences_are_taught_alone(invoke: Invoke, taught: Path, tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text(f"- {{name: one, task: prefer, train: {taught / 'train.jsonl'}}}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="one: prefer compares a model with what it was, and is taught alone"):
        invoke("finetune", taught / "body", "--tasks", tasks, "--out", tmp_path / "run")
