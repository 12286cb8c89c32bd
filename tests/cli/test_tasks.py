"""The commands that fine-tune, answer and measure: what they print and what they refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bothways.errors import UsageError
from tests.cli.conftest import Invoke
from tests.inference.made import make_run
from tests.tasks.conftest import reviews, write


@pytest.fixture(scope="module")
def tuned(invoke: Invoke, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    body = make_run(folder / "body", kind="wordpiece")
    train = write(folder / "train.jsonl", *reviews(), {"text": "", "label": "bad"})
    asked = [
        "finetune",
        body,
        "--train",
        train,
        "--test",
        train,
        "--out",
        folder / "run",
        "--set",
        "epochs=2",
        "--skip-bad",
    ]
    said = invoke(*asked, "--set", "learning_rate=3e-3", "--set", "batch=8").output
    (folder / "said.txt").write_text(said, encoding="utf-8")
    return folder


def test_what_is_read_kept_cut_and_skipped_is_said(tuned: Path) -> None:
    said = (tuned / "said.txt").read_text(encoding="utf-8")
    lines = {line.split(maxsplit=1)[0]: line for line in said.splitlines() if line.strip()}
    assert said.splitlines()[:2] == ["loading torch", "reading the records and the model"]
    assert "text from 'text', label from 'label'" in lines["read"]
    assert "(held out of --train by a hash of the texts), 48 test" in lines["examples"]
    assert "line 49: field 'text'" in lines["skipped"]
    assert "accuracy" in lines["epoch"] and "accuracy" in lines["test"]
    assert str(tuned / "run" / "model") in lines["kept"]
    assert re.match(r"majority   always '(good|bad)': accuracy 0.5", lines["majority"])
    assert "warning    48 of 48 test texts stand in the training file too" in said


def test_a_file_is_answered_and_measured(invoke: Invoke, tuned: Path, tmp_path: Path) -> None:
    run, file = tuned / "run", write(tmp_path / "new.jsonl", *reviews(2))
    said = invoke("predict", run, file, "--out", tmp_path / "out.jsonl").output.splitlines()
    assert said[0] == "read  text from 'text'" and said[1].startswith("12 answers in ")
    first = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert set(first) == {"id", "label", "probabilities"}
    told = json.loads(invoke("evaluate", run, file, "--json").output)
    assert told["examples"] == 12 and 0 <= told["accuracy"] <= 1 and told["skipped"] == 0
    assert "accuracy" in invoke("evaluate", run, file).output


def test_json_for_programs(invoke: Invoke, tuned: Path, tmp_path: Path) -> None:
    asked = [
        "finetune",
        tuned / "body",
        "--train",
        tuned / "train.jsonl",
        "--out",
        tmp_path / "run",
        "--set",
        "epochs=1",
    ]
    told = json.loads(invoke(*asked, "--skip-bad", "--json").output)
    assert (told["best"]["epoch"], told["best"]["step"], told["test"]) == (1, 2, None)
    assert len(told["skipped"]) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "expected model and train, got none. For example: bothways finetune"),
        (["body", "--train", "x.jsonl", "--set", "columns=label"], "columns: Input should be a valid dictionary"),
        (["body", "--train", "x.jsonl", "--set", "columns.lable=stars"], "Did you mean 'label'"),
        (["body", "--train", "x.jsonl", "--set", "bacth=3"], "Did you mean 'batch'"),
        (["body", "--train", "x.jsonl", "--task", "clasify"], "Did you mean 'classify'"),
    ],
)
def test_what_cannot_be_read(options: list[str], said: str, invoke: Invoke, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        invoke("finetune", *options, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_its_own_settings(invoke: Invoke, tuned: Path) -> None:
    resume = ["finetune", "--resume", "--out", tuned / "run"]
    for more, said in (
        (["--skip-bad", "--set", "batch=4"], "--skip-bad, --set"),
        (["m"], "MODEL"),
        (["--seeds", 2], "--s"),
    ):
        with pytest.raises(UsageError, match=f"leave out {said}"):
            invoke(*resume, *more)
    assert invoke("finetune", "--resume", "--out", tuned / "run").exit_code == 0


def test_a_model_is_taught_to_write_and_writes(invoke: Invoke, tuned: Path, tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu"), pytest.importorskip("rouge_score")
    words = "quick brown fox dog small model learns reading".split()
    train = write(tmp_path / "a.jsonl", *({"source": f"{one} fox", "target": one} for one in words * 3))
    asked = [
        "finetune",
        tuned / "body",
        "--task",
        "summarise",
        "--objective",
        "prefix",
        "--train",
        train,
        "--dev",
        train,
    ]
    settings = ["epochs=1", "learning_rate=3e-3", "batch=8", "target_length=6"]
    said = invoke(*asked, "--out", tmp_path / "run", *(part for one in settings for part in ("--set", one))).output
    assert "taught by prefix: asked for" in said and "objective  prefix: asked for" in said and "rouge_l" in said
    assert re.search(
        r"source use rouge_l [\d.]+; with sources of other examples rouge_l [\d.]+; the difference is", said
    )
    out = tmp_path / "out.jsonl"
    invoke("predict", tmp_path / "run", train, "--out", out, "--set", "num_beams=2", "--set", "num_return_sequences=2")
    first = json.loads(out.read_text(encoding="utf-8").splitlines()[0])
    assert set(first) == {"id", "text", "logprob", "others"} and len(first["others"]) == 1
    told = json.loads(invoke("evaluate", tmp_path / "run", train, "--json").output)
    assert set(told["shuffled_source"]) == {"metric", "own", "shuffled", "low", "high", "ignored"}
    assert "source use" in invoke("evaluate", tmp_path / "run", train).output
    written = json.loads(invoke("generate", tmp_path / "run", "quick fox", "--json").output)[0]
    assert written["full_text"] == written["text"] and len(written["tokens"]) <= 6
    with pytest.raises(UsageError, match="unknown argument of predict 'beams'"):
        invoke("predict", tmp_path / "run", train, "--out", out, "--set", "beams=2")
