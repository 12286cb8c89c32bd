"""Several tasks at once: all are learned by one body, each is asked by its name, and a run goes on exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import bothways
from bothways.errors import BothwaysError, ModelError, UsageError
from bothways.training.config import Budget, TrainingConfig
from bothways.training.finetuning import MultiTaskConfig, evaluate, finetune_multitask, predict, tasks_in
from bothways.training.finetuning.multitask import epoch_loop_of
from bothways.training.finetuning.multitask_batches import multitask_batches
from bothways.training.finetuning.multitask_setup import MultiTaskRun, set_up_multitask
from bothways.training.finetuning.run import batches_of, losses_of
from bothways.training.finetuning.setup import set_up
from bothways.training.loop import LoopInputs, train
from bothways.training.run_folder import RunFolder
from tests.conftest import Once
from tests.tasks.conftest import reviews, write
from tests.training.finetuning.together import RECORDS, one_task, pairs, several, stopped_at
from tests.training.small import ALONE


@pytest.fixture(scope="session")
def together(once: Once, body: Path) -> Path:
    """A run of a label, a pair with the head in turns, a number and tags."""

    def make(folder: Path) -> Path:
        alike = one_task(folder, "alike", head="san")
        mood = one_task(folder, "mood")
        mood["test"] = mood["train"]
        return finetune_multitask(several(folder, body, mood, alike, "stars", "names", epochs=10))

    return once("together", make)


def test_all_are_learned_and_each_is_measured_by_its_name(together: Path, tmp_path: Path) -> None:
    assert evaluate(together, write(tmp_path / "test.jsonl", *reviews(3)), task="mood")["accuracy"] > 0.9
    found = evaluate(together)
    assert {*found["tasks"]} == {"mood", "alike", "stars", "names"} and found["left_out"] == []
    assert found["tasks"]["names"]["f1"] > 0.6 and found["tasks"]["stars"]["spearman"] > 0.6
    own = [found["tasks"][name][metric] for name, metric in METRICS.items()]
    assert found["mean"] == pytest.approx(np.mean(own))
    assert evaluate(together, task="names")["tasks"].keys() == {"names"}


METRICS = {"mood": "accuracy", "alike": "accuracy", "stars": "spearman", "names": "f1"}


def test_each_is_asked_by_its_name(together: Path, tmp_path: Path) -> None:
    model = bothways.load(together, device="cpu")
    texts = ["a lovely film 3", "so bad 2"]
    assert [one.label for one in model.classify(texts, head="mood")] == ["good", "bad"]
    assert model.classify(("a lovely film 3", "so bad 2"), head="alike").label in ("alike", "apart")
    assert len(model.regress(texts)) == 2 and model.tag("The quick Mr Fox jumps").tags[0] == "O"
    with pytest.raises(ModelError, match="with several heads: name one, mood, alike"):
        model.classify(texts)
    file = write(tmp_path / "in.jsonl", *({"text": text} for text in texts))
    found = predict(together, file, task="mood")
    assert [one["label"] for one in found] == ["good", "bad"]
    assert predict(together, file, tmp_path / "out.jsonl", task="stars") == 2
    for task, said in (
        (None, "several tasks: name one of them .--task., mood, alike, stars, names"),
        ("m", "not taught 'm'"),
    ):
        with pytest.raises(ModelError, match=said):
            predict(together, file, task=task)


def test_a_folder_says_it_elsewhere(together: Path, tmp_path: Path) -> None:
    """Copied, and written back: the same heads, the same answers; transformers loads the body."""
    transformers = pytest.importorskip("transformers")
    model = bothways.load(together / "model", device="cpu")
    (folder,) = model.save(tmp_path)
    again = bothways.load(folder, device="cpu")
    assert again.engine.abilities == model.engine.abilities and list(again.engine.abilities.heads) == list(METRICS)
    inputs = [(one["text_a"], one["text_b"]) for one in pairs(2)]
    for one, other in zip(model.classify(inputs, head="alike"), again.classify(inputs, head="alike"), strict=True):
        assert one == other
    theirs = transformers.AutoModel.from_pretrained(folder)
    assert torch.equal(theirs.state_dict()["embed_tokens.weight"], model.engine.model.table)
    card = (together / "model" / "README.md").read_text()
    assert "- names (tag): O, B-PER, I-PER" in card and 'model.predict("classify", inputs, head="alike")' in card


def test_what_is_noted_of_each(together: Path) -> None:
    manifest = RunFolder(together).manifest()
    assert manifest["status"] == "done" and list(manifest["tasks"]) == list(METRICS)
    assert sum(one["share"] for one in manifest["tasks"].values()) == pytest.approx(1)
    mood, names = manifest["tasks"]["mood"], manifest["tasks"]["names"]
    assert mood["examples"] == {"train": 48, "dev": 48, "test": 48, "dev_cut_from_train": 0}
    assert mood["test"] == mood["dev"] and "test" not in names and names["labels"] == ["O", "B-PER", "I-PER"]
    assert "48 of 48 test texts stand in the training file too" in " ".join(mood["warnings"])
    looks = [line for line in RunFolder(together).lines() if line["kind"] == "validation"]
    means = [line["scores"]["mean"] for line in looks]
    assert manifest["best"]["epoch"] == 1 + means.index(max(means))
    for line in looks:
        own = [line["tasks"][name]["scores"][metric] for name, metric in METRICS.items()]
        assert [*line["scores"].values()] == [pytest.approx(np.mean(own)), *own]


def test_the_page_has_a_part_for_each(together: Path) -> None:
    html = (together / "report.html").read_text()
    for heading in ("How well it does", "mood: label by label", "alike: confusion matrix", "stars: where it is wrong"):
        assert f"<h2>{heading}</h2>" in html
    assert html.count(" of the rows are of this task.") == 4


def test_an_example_of_each_task_weighs_the_same_on_average(tmp_path: Path, body: Path) -> None:
    run = set_up_multitask(several(tmp_path, body, "mood", "names", "who", epochs=3), ALONE, resume=False)
    of_step, sums, counts = multitask_batches(run), dict.fromkeys(run.parts, 0.0), dict.fromkeys(run.parts, 0)
    for step in range(3 * run.mixing.steps):
        for task, *_ in run.mixing.of_step(step):
            counts[[*run.parts][task]] += 1
        for batch in of_step(step, 0.0):
            for target in batch.targets:
                sums[target.head] += float(torch.as_tensor(target.weight).sum())
    for name in run.parts:
        assert sums[name] / counts[name] == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("name", ["mood", "names", "who", "stars"])
def test_a_task_loses_what_a_run_of_it_alone_does(name: str, tmp_path: Path, body: Path) -> None:
    """The mean over the same examples, whatever an example weighs beside those of other tasks."""
    run = set_up_multitask(several(tmp_path, body, name, dropout=0.0, batch=200), ALONE, resume=False)
    loop = epoch_loop_of(run)
    loss, count = loop.losses(*loop.batches(run.mixing.steps * 2 - 1, 0.0), torch.Generator())[name]
    alone = set_up(
        run.config.of(run.config.tasks[0]).model_copy(update={"out": tmp_path / "alone"}), ALONE, resume=False
    )
    ((other, others),) = losses_of(alone.model, alone.state)(*batches_of(alone)(0, 0.0), torch.Generator()).values()
    assert float(count) == pytest.approx(len(alone.parts), rel=1e-4)
    assert float((loss / count).detach()) == pytest.approx(float((other / others).detach()), rel=1e-3)


def tasks_of_step(run: MultiTaskRun, step: int) -> set[str]:
    """The tasks that a step has rows of."""
    return {list(run.parts)[task] for task, _, _ in run.mixing.of_step(step)}


def test_a_step_leaves_heads_without_rows_as_they_are(tmp_path: Path, body: Path) -> None:
    """To the last bit, though the optimiser decays and remembers."""
    told = several(tmp_path, body, "mood", "alike", "stars", batch=2, weight_decay=0.1, epochs=1)
    run = set_up_multitask(told, ALONE, resume=False)
    loop = epoch_loop_of(run)
    work = LoopInputs(loop.losses, loop.batches, loop.names)
    config = TrainingConfig(budget=Budget(steps=loop.total))
    before = {name: weight.clone() for name, weight in run.state.weights.master.items()}
    absent = set()
    for report in train(work, state=run.state, config=config, total=loop.total):
        if report.step > 1:  # the first step of a warm-up may be of no size
            present = tasks_of_step(run, report.step - 1)
            for name, weight in run.state.weights.master.items():
                if name.startswith("heads.") and name.endswith("out.weight"):
                    task = name.split(".")[1]
                    assert torch.equal(before[name], weight) == (task not in present)
                    absent |= {task} - present
        before = {name: weight.clone() for name, weight in run.state.weights.master.items()}
        if report.step > 20:
            break
    assert absent == {"mood", "alike", "stars"}


def test_a_stop_at_any_step_changes_nothing(tmp_path: Path, body: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = ("mood", "stars", "names")
    whole = finetune_multitask(several(tmp_path / "whole", body, *tasks, batch=16))
    told = several(tmp_path / "parts", body, *tasks, batch=16)

    stopped_at(2, told, monkeypatch)
    stopped_at(9, told, monkeypatch, resume=True)
    finetune_multitask(told, resume=True)
    for file in ("model.safetensors", "head.safetensors"):
        first, second = (load_file(run / "model" / file) for run in (whole, told.out))
        assert first.keys() == second.keys() and all(torch.equal(second[name], one) for name, one in first.items())
    kept = ("kind", "step", "loss", "tokens", "flops", "scores")
    found = [[[line.get(key) for key in kept] for line in RunFolder(run).lines()] for run in (whole, told.out)]
    assert found[0] == found[1]
    with pytest.raises(UsageError, match="was started with other settings"):
        finetune_multitask(told.model_copy(update={"batch": 4}), resume=True)


def test_a_file_of_one_task_is_a_run_too(tmp_path: Path, body: Path) -> None:
    run = finetune_multitask(several(tmp_path, body, "mood", epochs=1))
    assert evaluate(run, tmp_path / "mood.jsonl")["examples"] == evaluate(run)["tasks"]["mood"]["examples"] == 48
    assert bothways.load(run, device="cpu").classify("so bad").label in ("good", "bad")


def test_thresholds_are_tuned_task_by_task(tmp_path: Path, body: Path) -> None:
    told = several(tmp_path, body, one_task(tmp_path, "kinds", thresholds="tuned"), "mood", epochs=1)
    finetune_multitask(told)
    heads = bothways.load(told.out, device="cpu").engine.abilities.heads
    assert len(heads["kinds"].thresholds or ()) == 3 and heads["mood"].thresholds is None


def test_a_pooler_is_where_every_label_begins(tmp_path: Path) -> None:
    from tests.model.huggingface.test_published_answers import published

    begun = published(tmp_path / "bert", "Bert", "")
    pooler = load_file(begun / "model.safetensors")["pooler.dense.weight"]
    run = set_up_multitask(several(tmp_path, begun, "mood", "alike"), ALONE, resume=False)
    for name in ("mood", "alike"):
        assert torch.equal(run.state.weights.master[f"heads.{name}.transform.dense.weight"], pooler)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "clasify"}, "Did you mean 'classify'"),
        ({"objective": "causal"}, "objective is for tasks that write, text2text and its like, and classify does not"),
        ({"train": "none.jsonl"}, "none.jsonl"),
        ({"columns": {"lable": "x"}}, "Did you mean 'label'"),
        ({"head": "san"}, "head=san is for one label of a pair of texts"),
        ({"teacher": "none"}, "expected as teacher the folder of a run, got none"),
    ],
)
def test_what_is_refused_before_anything_is_made(change: dict[str, Any], said: str, tmp_path: Path, body: Path) -> None:
    told = several(tmp_path, body, one_task(tmp_path, "mood", **change), "stars")
    with pytest.raises(BothwaysError, match=said):
        finetune_multitask(told)
    assert not told.out.exists()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("mood", "mood"), "expected a name of its own for each task; got 'mood' 2 times"),
        (("a.b",), "expected letters, digits, _ and - alone; got 'a.b'"),
        (("words",), "expected a name that is not taken; got 'words'"),
        (("train",), "expected a name that is not taken; got 'train'"),
        ((), "tasks"),
    ],
)
def test_names(names: tuple[str, ...], said: str, tmp_path: Path) -> None:
    tasks = [one_task(tmp_path, "mood") | {"name": name} for name in names]
    with pytest.raises(UsageError, match=said):
        finetune_multitask("body", tasks=tasks, out=tmp_path / "run")


def test_the_file_of_tasks(tmp_path: Path) -> None:
    file = tmp_path / "tasks.yaml"
    for text, said in (
        ("", "expected a list of tasks, got none"),
        ("a: 1", "got none"),
        ("tasks: 3", "got int"),
        ("[", "YAML"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=said):
            tasks_in(file)
    with pytest.raises(UsageError, match="nowhere.yaml: cannot be read"):
        tasks_in(tmp_path / "nowhere.yaml")
    file.write_text("epochs: 5\ntasks:\n- {name: a, train: a.jsonl}\n")
    assert tasks_in(file) == {"epochs": 5, "tasks": [{"name": "a", "train": "a.jsonl"}]}
    file.write_text("- {name: a, train: a.jsonl}\n")
    assert MultiTaskConfig(model="m", **tasks_in(file)).tasks[0].task == "classify"


def test_every_kind_of_file_here_is_one_of_ours() -> None:
    assert {task for task, _ in RECORDS.values()} <= {*bothways.tasks.TASKS}
    assert json.dumps(pairs(1))
