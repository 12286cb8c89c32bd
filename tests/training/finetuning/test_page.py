"""The page of a fine-tuning run, and the figures on it: intervals, calibration, confusion matrix."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from seqeval.metrics import classification_report

from bothways import tasks
from bothways.model import TaskHead
from bothways.statistics import bootstrap, calibration
from bothways.tasks import TASKS
from bothways.tasks.task import Example
from bothways.tasks.words import Pair, Words
from bothways.training.finetuning import FinetuneConfig, finetune
from bothways.training.finetuning.data import read_data
from bothways.training.finetuning.page import in_words, write_report
from bothways.training.finetuning.tuned import Tuned
from bothways.training.run_folder import RunFolder
from tests.tasks.conftest import config, reviews, tagged, write

TASK_FILES = sorted(Path(tasks.__file__).parent.glob("*.py"))
ANSWERS_OF_TAGS = TaskHead("tag", "tags", ("O", "B-X"), "one", "encoder")
ANSWERS = TaskHead("classify", "label", ("a", "b"), "one", "encoder")


def said(label: str, chance: float) -> dict[str, Any]:
    other = "b" if label == "a" else "a"
    return {"label": label, "probabilities": {label: chance, other: 1 - chance}}


def test_the_page_has_scores_confusions_and_the_surest_mistakes(classifier: Path) -> None:
    examples = [Example(i, (f"text <{i}> & more",), "bad", "f, line 1") for i in range(30)]
    answers = TaskHead("classify", "label", ("bad", "good"), "one", "encoder")
    told = [
        {"label": "good" if i < 3 else "bad", "probabilities": {"good": 0.9 - i / 100, "bad": 0.9}} for i in range(30)
    ]
    page = write_report(classifier, TASKS["classify"], examples, told, answers, where="test").read_text(
        encoding="utf-8"
    )
    assert "text &lt;0&gt; &amp; more" in page and "<0>" not in page
    assert page.index("text &lt;0&gt;") < page.index("text &lt;1&gt;") < page.index("text &lt;2&gt;")
    assert "text &lt;3&gt;" not in page  # it was right
    assert ">27<" in page and ">3<" in page
    assert "Epoch 6" in page and "http:" not in page and "https:" not in page


@pytest.mark.parametrize("task", ["tag", "regress"])
def test_other_tasks_have_a_page_too(task: str, body: Path, tmp_path: Path) -> None:
    told = config(tmp_path, body, task=task)
    records = [{"text": record["text"], "score": len(record["text"])} for record in reviews()]
    test = write(tmp_path / "test.jsonl", *(tagged(4) if task == "tag" else records))
    write(told.train, *(tagged() if task == "tag" else records))
    run = finetune(told.model_copy(update={"test": test}))
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Where it is wrong" in page and "Confusion matrix" not in page
    words = re.findall(r"<t[hd](?: scope=.col.)?>([^<]*)</t[hd]>|<dt>([^<]*)</dt>|<h3>([^<]*)</h3>", page)
    assert not any("_" in word for some in words for word in some)
    low, high = RunFolder(run).manifest()["test_intervals"][TASKS[task].metric]
    assert low <= RunFolder(run).manifest()["test"][TASKS[task].metric] <= high


def test_a_word_that_is_wrong_twice_is_shown_twice(classifier: Path) -> None:
    example = Example(0, ("a b a",), ("B-X", "O", "B-X"), "f, line 1", words=("a", "b", "a"))
    told = {"tags": ["O", "O", "O"], "probabilities": [0.9, 0.9, 0.9]}
    page = write_report(classifier, TASKS["tag"], [example], [told], ANSWERS_OF_TAGS, where="test").read_text(
        encoding="utf-8"
    )
    assert page.count('<th scope="row">a</th><td>O, right: B-X</td>') == 2


def test_a_relation_that_is_wrong_says_between_what(classifier: Path) -> None:
    pair = Pair.marked("the <e2>wheel</e2> of a <e1>car</e1>")
    examples = [Example(0, (pair.text,), "a", "f, line 1", pair=pair)]
    page = write_report(classifier, TASKS["relate"], examples, [said("b", 0.9)], ANSWERS, where="test").read_text(
        encoding="utf-8"
    )
    things = re.findall(r'<th scope="row">(first|second)</th><td>([^<]*)</td>', page)
    assert things == [("first", "car"), ("second", "wheel")]


def test_metrics_are_named_as_one_writes_them() -> None:
    """All that the tasks hand out, as docs/finetuning.md lists them."""
    keys = {*re.findall(r'"(\w+)": float\(', "".join(file.read_text() for file in TASK_FILES))} - {
        "score",
        "similarity",
    }
    assert {"macro_f1", "recall_at_10", "intent_accuracy"} <= keys
    for key in {*keys, "mean_squared_error", "slot_f1"}:
        assert "_" not in in_words(key)
    assert in_words("slot_f1") == "slots: F1" and in_words("accuracy") == "accuracy"


def test_of_equal_epochs_none_is_called_best(classifier: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(classifier, run, ignore=shutil.ignore_patterns("model", "checkpoints"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    told = {key: value for key, value in RunFolder(run).manifest().items() if key != "metrics"}
    (run / "manifest.json").write_text(json.dumps(told), encoding="utf-8")

    def kept(*scores: float) -> str:
        looks = iter(scores)
        changed = [
            line | ({"scores": line["scores"] | {"accuracy": next(looks, 0.1)}} if line["kind"] == "validation" else {})
            for line in lines
        ]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed), encoding="utf-8")
        page = write_report(run, TASKS["tag"], [], [], ANSWERS_OF_TAGS, where="test").read_text(encoding="utf-8")
        (found,) = re.findall(r"<dt>Epoch kept</dt>.*?<dd class=\"unit\">(.*?)</dd>", page)
        return str(found)

    assert kept(0.2, 0.9, 0.3) == "best accuracy on dev"
    assert kept(0.9, 0.2, 0.9) == "the first of 1, 3: alike on dev"


def test_an_interval_is_that_of_a_share() -> None:
    """Of 400 answers 3 in 4 are right: 0.75 and twice the standard error of a share on either side."""
    examples = [Example(i, ("x",), "a", "") for i in range(400)]
    answers = [said("a" if i % 4 else "b", 0.9) for i in range(400)]
    low, high = bootstrap(TASKS["classify"].scores_of(examples, answers, ANSWERS), len(examples))["accuracy"]
    error = (0.75 * 0.25 / 400) ** 0.5
    assert low == pytest.approx(0.75 - 1.96 * error, abs=0.012)
    assert high == pytest.approx(0.75 + 1.96 * error, abs=0.012)
    again = bootstrap(TASKS["classify"].scores_of(examples, answers, ANSWERS), len(examples))["accuracy"]
    assert again == (low, high)


def test_calibration_is_the_mean_distance_of_sureness_and_truth() -> None:
    chances = np.array([0.95] * 10 + [0.65] * 10)
    right = np.array([True] * 9 + [False] + [True] * 4 + [False] * 6)
    error, bins = calibration(chances, right)
    assert error == pytest.approx(0.5 * 0.05 + 0.5 * 0.25)
    assert [(round(said, 2), round(true, 2), count) for said, true, count in bins] == [(0.65, 0.4, 10), (0.95, 0.9, 10)]
    assert calibration(np.array([1.0]), np.array([True]))[0] == 0.0


def rows_of(page: str, section: str) -> list[list[str]]:
    """The rows of the table under a heading."""
    (table,) = re.findall(rf"<h2>{section}</h2>.*?<tbody>(.*?)</tbody>", page, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in table.split("</tr>")[:-1]]


def test_labels_one_by_one(classifier: Path) -> None:
    """Of a, b and the never met c; what is a share of nothing is not known."""
    head = TaskHead("classify", "label", ("a", "b", "c"), "one", "encoder")
    golds, labels = "aaaabb", "aaabba"
    examples = [Example(i, ("x",), gold, "") for i, gold in enumerate(golds)]
    told = [{"label": one, "probabilities": {one: 0.8}} for one in labels]
    page = write_report(classifier, TASKS["classify"], examples, told, head, where="test").read_text(encoding="utf-8")
    found = rows_of(page, "Label by label")
    assert found == [
        ["a", "0.750", "0.750", "0.750", "4"],
        ["b", "0.500", "0.500", "0.500", "2"],
        ["c", "–", "–", "–", "0"],
    ]


def test_several_labels_one_by_one(classifier: Path) -> None:
    head = TaskHead("classify", "label", ("a", "b"), "several", "encoder")
    golds, labels = [("a",), ("a", "b"), ()], [("a",), ("a",), ("a",)]
    examples = [Example(i, ("x",), gold, "") for i, gold in enumerate(golds)]
    told = [{"label": list(one), "probabilities": {"a": 0.9, "b": 0.1}} for one in labels]
    page = write_report(classifier, TASKS["classify"], examples, told, head, where="test").read_text(encoding="utf-8")
    assert rows_of(page, "Label by label") == [
        ["a", "0.667", "1.000", "0.800", "2"],
        ["b", "–", "0.000", "0.000", "1"],
    ]


def page_of(run: Path, task: str, pairs: list[tuple[Any, dict[str, Any]]], head: TaskHead) -> str:
    """The page of predictions beside the right answers."""
    examples = [
        Example(i, ("x",), gold, "", words=Words.joined([f"w{n}" for n in range(len(told["tags"]))]))
        for i, (gold, told) in enumerate(pairs)
    ]
    told = [{"probabilities": [0.9] * len(told["tags"]), **told} for _, told in pairs]
    return write_report(run, TASKS[task], examples, told, head, where="test").read_text(encoding="utf-8")


def test_names_kind_by_kind(classifier: Path) -> None:
    """A name whose end is wrong is not found; the same name elsewhere is another one. The figures are seqeval's."""
    head = TaskHead("tag", "tags", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"), "one", "encoder")
    pairs: list[tuple[Any, dict[str, Any]]] = [
        (("B-PER", "I-PER", "O", "B-LOC"), {"tags": ["B-PER", "I-PER", "O", "B-LOC"]}),
        (("B-PER", "I-PER", "O", "B-LOC"), {"tags": ["B-PER", "O", "B-ORG", "B-LOC"]}),
        (("B-PER", "O", "O", "O"), {"tags": ["O", "B-PER", "O", "O"]}),
    ]
    page = page_of(classifier, "tag", pairs, head)
    assert rows_of(page, "Names, kind by kind") == [
        ["PER", "0.333", "0.333", "0.333", "3"],
        ["LOC", "1.000", "1.000", "1.000", "2"],
        ["ORG", "0.000", "–", "0.000", "0"],
    ]
    golds, found = [[*gold] for gold, _ in pairs], [told["tags"] for _, told in pairs]
    report = classification_report(golds, found, output_dict=True, zero_division=0)
    assert report["PER"]["f1-score"] == pytest.approx(1 / 3) and report["LOC"]["support"] == 2
    assert "A name is right as a whole or not at all." in page and "Label by label" not in page


def test_plain_tags_one_by_one(classifier: Path) -> None:
    head = TaskHead("tag", "tags", ("NN", "VB"), "one", "encoder")
    page = page_of(classifier, "tag", [(("NN", "VB", "NN"), {"tags": ["NN", "NN", "NN"]})], head)
    assert rows_of(page, "Tag by tag") == [
        ["NN", "0.667", "1.000", "0.800", "2"],
        ["VB", "–", "0.000", "0.000", "1"],
    ]


def test_intents_and_slots_one_by_one(classifier: Path) -> None:
    head = TaskHead("intent", "tags", ("O", "B-city", "I-city", "intent:buy", "intent:go"), "one", "encoder")
    pairs: list[tuple[Any, dict[str, Any]]] = [
        (("B-city", "O", "intent:go"), {"tags": ["B-city", "O"], "intent": "go", "intent_probability": 0.9}),
        (("B-city", "O", "intent:buy"), {"tags": ["O", "O"], "intent": "go", "intent_probability": 0.9}),
    ]
    page = page_of(classifier, "intent", pairs, head)
    assert rows_of(page, "Intent by intent") == [
        ["buy", "–", "0.000", "0.000", "1"],
        ["go", "0.500", "1.000", "0.667", "1"],
    ]
    assert rows_of(page, "Names, kind by kind") == [["city", "1.000", "0.500", "0.667", "2"]]


def test_how_often_it_is_right_at_each_confidence_is_drawn(classifier: Path) -> None:
    examples = [Example(i, ("x",), "a", "") for i in range(20)]
    answers = [said("a" if i % 2 else "b", 0.95 if i < 10 else 0.65) for i in range(20)]
    page = write_report(classifier, TASKS["classify"], examples, answers, ANSWERS, where="test").read_text(
        encoding="utf-8"
    )
    assert "<h3>Reliability</h3>" in page and "confidence of the prediction, in percent" in page
    assert "right,65,0.5" in unquote(page) and "right,95,0.5" in unquote(page) and "as sure,100,1" in unquote(page)


def test_the_dev_loss_of_every_epoch_is_that_of_the_model_then(classifier: Path) -> None:
    """The last epoch's is worked out again from the probabilities that the checkpoint's model gives."""
    looks = [line for line in RunFolder(classifier).lines() if line["kind"] == "validation"]
    assert len(looks) > 1 and all(line["loss"] > 0 for line in looks)
    assert "dev <b>" in (classifier / "report.html").read_text(encoding="utf-8")
    best = RunFolder(classifier).manifest()["best"]
    loss = next(line["loss"] for line in looks if line["epoch"] == best["epoch"])
    run = RunFolder(classifier)
    tuned, told = Tuned.load(classifier), run.config(FinetuneConfig)
    data = read_data(told, reads="encoder")
    found = tuned.predict(tuned.encode(data.dev))
    right = [one["probabilities"][example.gold] for one, example in zip(found, data.dev, strict=True)]
    assert loss == pytest.approx(-np.log(right).mean(), rel=5e-2)  # in bf16 near certainty
