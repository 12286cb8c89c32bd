"""The commands that fine-tune, answer and measure: what they print and what they refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bothways.cli.tasks import FinetuneDisplay
from bothways.errors import ModelError, UsageError
from tests.cli.conftest import Invoke
from tests.inference.made import load, make_run
from tests.tasks.conftest import reviews, write
from tests.training.finetuning.together import stars, words


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
        (
            ["body", "--train", "x.jsonl", "--set", "columns=label"],
            "columns: expected names and values",
        ),
        (
            ["body", "--train", "x.jsonl", "--set", "code=own.py"],
            "code: expected a list, as in",
        ),
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


@pytest.mark.parametrize(
    ("task", "record", "said"),
    [
        ("extract", {"article": "The lazy dog. The quick fox {}.", "summary": "The dog."}, "Lead-1: rouge1 "),
        ("rerank", {"query": "the fox {}", "positive": "a fox", "negatives": ["a dog"]}, "TF-IDF: mrr@10 "),
    ],
)
def test_what_learned_nothing_stands_beside(
    task: str, record: dict[str, Any], said: str, invoke: Invoke, tuned: Path, tmp_path: Path
) -> None:
    pytest.importorskip("rouge_score")
    numbered = [
        {key: text.format(i) if isinstance(text, str) else text for key, text in record.items()} for i in range(12)
    ]
    train, out = write(tmp_path / "train.jsonl", *numbered), tmp_path / "run"
    asked: list[Any] = ["finetune", tuned / "body", "--task", task, "--train", train, "--dev", train, "--out", out]
    asked += ["--set", "sentences=1"] if task == "extract" else []
    told = invoke(*asked, "--set", "epochs=1").output
    assert said in next(line for line in told.splitlines() if line.startswith("beside "))
    assert said in invoke("evaluate", out, train).output
    assert invoke("predict", out, train, "--out", tmp_path / "out.jsonl").exit_code == 0
    first = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert (
        set(first) == {"extract": {"id", "sentences", "summary", "scores"}, "rerank": {"id", "order", "scores"}}[task]
    )


@pytest.fixture(scope="module")
def taught(invoke: Invoke, tuned: Path) -> Path:
    """A folder with a run of two tasks, and what was told."""
    train, body = tuned / "train.jsonl", tuned / "body"
    file = tuned / "tasks.yaml"
    file.write_text(
        f"- {{name: mood, train: {train}, test: {train}, compare: {tuned / 'run'}}}\n"
        f"- {{name: stars, task: regress, train: {write(tuned / 'stars.jsonl', *stars())}}}\n"
    )
    settings = [word for one in ("epochs=2", "learning_rate=3e-3", "batch=8") for word in ("--set", one)]
    said = invoke("finetune", body, "--tasks", file, "--out", tuned / "both", "--skip-bad", *settings).output
    (tuned / "both.txt").write_text(said, encoding="utf-8")
    return tuned


def test_several_tasks_are_told_one_by_one(taught: Path) -> None:
    said = (taught / "both.txt").read_text(encoding="utf-8")
    assert "mean" in said and "mood: classify, drawn " in said and "stars: regress, drawn " in said
    assert "  skipped    " in said and "  alone      accuracy " in said
    assert said.splitlines()[-1].startswith("kept epoch ")


def test_several_tasks_are_measured_and_asked_by_name(invoke: Invoke, taught: Path, tmp_path: Path) -> None:
    run, file = taught / "both", write(tmp_path / "new.jsonl", *reviews(2))
    told = json.loads(invoke("evaluate", run, "--skip-bad", "--json").output)
    assert {*told["tasks"]} == {"mood"} and told["left_out"] == ["stars"]
    said = invoke("evaluate", run, "--skip-bad").output
    assert "left out, since they name no test or dev file: stars" in said
    assert "accuracy" in invoke("evaluate", run, file, "--task", "mood").output
    invoke("predict", run, file, "--task", "stars", "--out", tmp_path / "out.jsonl")
    first = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert {*first} == {"id", "score"}
    with pytest.raises(ModelError, match="several tasks: name one of them"):
        invoke("predict", run, file, "--out", tmp_path / "out.jsonl")
    with pytest.raises(UsageError, match="expected a file to measure on, got none"):
        invoke("evaluate", taught / "run")


def test_several_tasks_are_taught_again_from_the_settings_of_a_run(
    invoke: Invoke, taught: Path, tmp_path: Path
) -> None:
    given = ["--config", taught / "both" / "config.yaml", "--set", "epochs=1", "--out", tmp_path / "again", "--json"]
    told = json.loads(invoke("finetune", *given).output)
    assert {*told["tasks"]} == {"mood", "stars"} and told["best"]["epoch"] == 1


def test_several_tasks_go_on_and_tell_programs(invoke: Invoke, taught: Path) -> None:
    told = json.loads(invoke("finetune", "--resume", "--out", taught / "both", "--json").output)
    assert {*told} == {"best", "test", "tasks"} and told["tasks"]["mood"]["beside"]["scores"]


def test_seeds_of_several_tasks_are_told_with_their_mean(invoke: Invoke, taught: Path, tmp_path: Path) -> None:
    asked = ["finetune", taught / "body", "--tasks", taught / "tasks.yaml", "--skip-bad", "--set", "epochs=1"]
    said = invoke(*asked, "--seeds", 2, "--out", tmp_path / "run").output
    told = [line.split()[:2] for line in said.splitlines() if " ± " in line]
    assert told == [["dev", "mean"], ["dev", "mood"], ["dev", "stars"], ["test", "mean"], ["test", "mood"]]
    assert "accuracy" in invoke("evaluate", tmp_path / "run", "--skip-bad").output


def test_one_of_several_tasks_writes(invoke: Invoke, tuned: Path, tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu"), pytest.importorskip("rouge_score")
    file, run = tmp_path / "tasks.yaml", tmp_path / "run"
    lines = [
        f"- {{name: {name}, task: text2text, objective: {way}, target_length: 6, train: {train}, dev: {train}}}\n"
        for name, way in (("first", "causal"), ("second", "prefix"))
        for train in [write(tmp_path / f"{name}.jsonl", *words(0, 2))]
    ]
    file.write_text(f"- {{name: mood, train: {tuned / 'train.jsonl'}}}\n" + "".join(lines))
    said = invoke("finetune", tuned / "body", "--tasks", file, "--out", run, "--skip-bad", "--set", "epochs=1").output
    assert "second: taught by prefix: asked for" in said and "first: text2text by causal, drawn " in said
    told = json.loads(invoke("evaluate", run, "--set", "num_beams=2", "--json").output)
    assert {*told["tasks"]} == {"first", "second"} and "rougeL" in told["tasks"]["second"]
    written = invoke("generate", run, "quick fox", "--task", "second").stdout
    assert written == load(run).generate("quick fox", head="second").text + "\n"
    with pytest.raises(ModelError, match="writes for several tasks: name one"):
        invoke("generate", run, "quick fox")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--train", "x.jsonl", "--task", "tag"], "says what each task is: leave out --task, --train"),
        (["--set", "power=1"], "configuration key"),
    ],
)
def test_what_does_not_go_with_several(
    options: list[str], said: str, invoke: Invoke, taught: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        invoke("finetune", "body", "--tasks", taught / "tasks.yaml", "--out", tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()


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
    assert "taught by prefix: asked for" in said and "objective  prefix: asked for" in said and "rougeL" in said
    assert re.search(r"source use rougeL [\d.]+; with sources of other examples rougeL [\d.]+; the difference is", said)
    out = tmp_path / "out.jsonl"
    invoke("predict", tmp_path / "run", train, "--out", out, "--set", "num_beams=2", "--set", "num_return_sequences=2")
    first = json.loads(out.read_text(encoding="utf-8").splitlines()[0])
    assert set(first) == {"id", "source", "target", "logprob", "others"} and len(first["others"]) == 1
    told = json.loads(invoke("evaluate", tmp_path / "run", train, "--json").output)
    assert set(told["shuffled_source"]) == {"metric", "own", "shuffled", "low", "high", "ignored"}
    assert "source use" in invoke("evaluate", tmp_path / "run", train).output
    written = json.loads(invoke("generate", tmp_path / "run", "quick fox", "--json").output)[0]
    assert written["full_text"] == written["text"] and len(written["tokens"]) <= 6
    with pytest.raises(UsageError, match="unknown argument of predict 'beams'"):
        invoke("predict", tmp_path / "run", train, "--out", out, "--set", "beams=2")


def test_a_writer_is_taught_by_what_another_wrote(invoke: Invoke, tuned: Path, tmp_path: Path) -> None:
    """Sequence distillation: what `predict` leaves is what `finetune` learns from, beside people's dev examples."""
    pytest.importorskip("sacrebleu"), pytest.importorskip("rouge_score")
    words = "quick brown fox dog small model learns reading".split()
    people = write(tmp_path / "people.jsonl", *({"article": f"{one} fox", "summary": one} for one in words * 6))
    settings = ["epochs=3", "learning_rate=3e-3", "batch=8", "target_length=16"]
    common = ["--task", "text2text", "--dev", people, *(part for one in settings for part in ("--set", one))]
    teacher, distilled, student = tmp_path / "teacher", tmp_path / "distilled.jsonl", tmp_path / "student"
    invoke("finetune", tuned / "body", "--objective", "causal", "--train", people, "--out", teacher, *common)
    # A text of two tokens at least: no target is empty, however little the teacher has learned.
    invoke("predict", teacher, people, "--out", distilled, "--set", "min_new_tokens=2", "--set", "max_new_tokens=3")
    records = [json.loads(line) for line in distilled.read_text(encoding="utf-8").splitlines()]
    assert [one["source"] for one in records] == [f"{one} fox" for one in words * 6]
    said = invoke("finetune", tuned / "body", "--objective", "bang", "--train", distilled, "--out", student, *common)
    assert "read       source from 'source', target from 'target', id from 'id'" in said.output
    assert "taught by bang(streams=1, together=1): asked for" in said.output and "48 train" in said.output
    lines = [json.loads(line) for line in (student / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert losses[-1] < losses[0]
    assert json.loads(invoke("evaluate", student, distilled, "--json").output)["examples"] == 48


def test_a_setting_given_as_an_option_is_said_to_be_one(invoke: Invoke) -> None:
    said = invoke("finetune", "body", "--epochs", 1)
    assert said.exit_code == 2 and "--set epochs=..." in " ".join(said.output.split())
    said = invoke("pretrain", "--learning-rate", 1e-3)
    assert said.exit_code == 2 and "--set training.optimiser.learning_rate=..." in " ".join(said.output.split())


def test_a_validation_without_steps_before_it_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a run that was stopped while it was validated: resumed, it begins with that."""
    line = {"kind": "validation", "epoch": 1, "loss": 0.5, "scores": {"accuracy": 0.75}}
    FinetuneDisplay(quiet=False).show(line)
    assert "epoch 1   dev loss 0.5000  accuracy 0.7500" in "".join(capsys.readouterr())
