"""What a score is worth is said beside it: what one answer alone would get, and how much was in the training file."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape
from sklearn.metrics import accuracy_score, f1_score
from typer.testing import CliRunner

from bothways.cli import app
from bothways.errors import DataError
from bothways.model import TaskHead
from bothways.tasks import TASKS
from bothways.tasks.reading import hold_out, read_examples, seals
from bothways.tasks.records import refuse
from bothways.tasks.task import Example
from bothways.training.finetuning import evaluate, finetune
from bothways.training.finetuning.baselines import SEEN, chosen_by_chance, remember, trained_on, worth
from bothways.training.finetuning.seeds import finetune_seeds
from bothways.training.run_folder import RunFolder
from tests.pages import Page
from tests.tasks.conftest import config, reviews, tagged, write

NEW = [{"text": f"{text} today", "label": label} for text, label in (("so lovely", "good"), ("so dreadful", "bad"))]


def examples(*golds: Any) -> list[Example]:
    return [Example(number, (f"text {number}",), gold, "f, line 1") for number, gold in enumerate(golds)]


CASES: dict[str, tuple[list[Example], list[dict[str, Any]], str, str | None]] = {
    "one label for all": (examples("a", "b", "b"), [{"label": "a"}] * 3, "b", "'a', where 2 different"),
    "two labels": (examples("a", "b", "b"), [{"label": "a"}, {"label": "b"}, {"label": "b"}], "b", None),
    "all are alike": (examples("a", "a"), [{"label": "a"}] * 2, "a", None),
    "lists": (examples(("a", "b"), ("a",), ("a",)), [{"label": ["b", "a"]}] * 3, "a", "'a, b', where 2 different"),
    "no label at all": (examples((), (), ("a",)), [{"label": []}] * 3, "none", "'none', where 2 different"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_answer_to_everything_is_said(case: str) -> None:
    asked, said, common, sentence = CASES[case]
    said = [{"label": sorted(one["label"]) if isinstance(one["label"], list) else one["label"]} for one in said]
    kind = "several" if isinstance(asked[0].gold, tuple) else "one"
    answers = TASKS["classify"].head(examples("a", "b") if kind == "one" else examples(("a", "b")), reads="encoder")
    found = worth(TASKS["classify"], asked, said, answers)
    assert found["majority"]["answer"] == common
    assert len(found["warnings"]) == (sentence is not None)
    if sentence:
        assert found["warnings"][0].startswith(f"one answer to everything: {sentence}")
    if kind == "one":
        golds, always = [one.gold for one in asked], [common] * len(asked)
        assert found["majority"]["scores"]["accuracy"] == pytest.approx(accuracy_score(golds, always))
        macro = f1_score(golds, always, average="macro", zero_division=0)
        assert found["majority"]["scores"]["macro_f1"] == pytest.approx(macro)


def test_of_other_tasks() -> None:
    tags = TaskHead("tag", "tags", ("O", "B-A", "I-A"), "one", "encoder")
    outside = [{"tags": ["O", "O"]}, {"tags": ["O"]}]
    found = worth(TASKS["tag"], examples(("O", "B-A"), ("O",)), outside, tags)
    assert found["majority"]["answer"] == "O"
    assert found["majority"]["scores"] == pytest.approx({"f1": 0, "precision": 0, "recall": 0, "accuracy": 2 / 3})
    assert found["warnings"][0].startswith("one answer to everything: 'O', where 2 different")
    for golds in ([()], [(), ("O", "B-A")]):  # a text without a word
        found = worth(TASKS["tag"], examples(*golds), [{"tags": list(gold)} for gold in golds], tags)
        assert found["majority"]["scores"]["f1"] == 0.0 and not found["warnings"]
    wishes = TaskHead("intent", "tags", ("O", "B-A", "I-A", "intent:x", "intent:y"), "one", "encoder")
    golds = [("O", "B-A", "intent:x"), ("O", "intent:y"), ("O", "intent:x")]
    said = [{"tags": ["O", "B-A"], "intent": "x"}, *[{"tags": ["O"], "intent": "x"}] * 2]
    found = worth(TASKS["intent"], examples(*golds), said, wishes)
    assert found["majority"]["answer"] == "x" and found["majority"]["scores"]["intent_accuracy"] == pytest.approx(2 / 3)
    assert found["majority"]["scores"]["whole"] == pytest.approx(1 / 3)
    assert found["warnings"][0].startswith("one answer to everything: 'x', where 2 different")
    places = TaskHead("choose", "label", ("choice",), "choice", "encoder")
    found = worth(TASKS["choose"], examples(0, 2, 2), [{"choice": 1}] * 3, places)
    assert found["majority"] == {"answer": "2", "scores": {"accuracy": pytest.approx(2 / 3)}}
    related = TaskHead("relate", "markers", ("is", "other"), "one", "encoder")
    found = worth(TASKS["relate"], examples("is", "is"), [{"label": "is"}] * 2, related)
    assert found["majority"] == {"answer": "is", "scores": {"f1": 1.0, "accuracy": 1.0}} and not found["warnings"]
    number = TaskHead("regress", "label", ("score",), "number", "encoder")
    found = worth(TASKS["regress"], examples(1.0, 2.0), [{"score": 1.0}] * 2, number)
    assert found == {"majority": None, "baselines": {}, "warnings": []}


def test_texts_are_the_same_but_for_white_space_and_form(tmp_path: Path) -> None:
    learned = [Example(0, ("a  café",), "x", ""), Example(1, ("b", "c"), "x", "")]
    remember(tmp_path, learned, [], again=False, writes=True)
    asked = [("a cafe\u0301 ",), ("b", "c"), ("b c",), ("c", "b"), ("new",)]
    found = [Example(number, texts, "x", "") for number, texts in enumerate(asked)]
    expected = "2 of 5 texts stand in the training file too: the score on them says nothing about new texts"
    assert trained_on(tmp_path, found, where="texts") == [expected]
    sides = hold_out([*found * 20, *(Example(0, (f"n{number}",), "x", "") for number in range(40))], 0.3)
    assert all(sides) and not {*seals(sides[0]).tolist()} & {*seals(sides[1]).tolist()}


def test_a_run_says_what_its_score_is_worth(tmp_path: Path, body: Path) -> None:
    """Of the test file, and of the dev file, whose texts are held against those of training."""
    seen = write(tmp_path / "seen.jsonl", *reviews(2), *NEW)
    run = finetune(config(tmp_path, body, test=seen, epochs=1, learning_rate=1e-9))  # it learns nothing
    manifest = RunFolder(run).manifest()
    constant = [line for line in manifest["warnings"] if line.startswith("one answer to everything")]
    assert [line for line in manifest["warnings"] if line not in constant] == [
        "48 of 48 dev texts stand in the training file too: the score on them says nothing about new texts",
        "12 of 14 test texts stand in the training file too: the score on them says nothing about new texts",
    ]
    assert manifest["majority"]["scores"]["accuracy"] == 0.5
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Warning: 12 of 14 test texts stand in the training file too" in page
    assert str(escape("Always 'good', test")) in page
    new = evaluate(run, write(tmp_path / "new.jsonl", *NEW))
    assert new["majority"] == {"answer": "good", "scores": new["majority"]["scores"]}
    assert not [line for line in new["warnings"] if "training file" in line]
    alone = shutil.copytree(run / "model", tmp_path / "alone")  # nobody knows what it was trained on
    assert not [line for line in evaluate(alone, seen)["warnings"] if "training file" in line]


def test_a_run_says_when_too_few_are_held_out_to_choose_by(tmp_path: Path, body: Path) -> None:
    few = finetune(config(tmp_path, body, dev=None, epochs=1, dev_share=0.05))
    (warning,) = (line for line in RunFolder(few).manifest()["warnings"] if "too few" in line)
    held = RunFolder(few).manifest()["examples"]["dev"]
    assert 0 < held < 10
    assert warning == (
        f"dev has {held} of the training file: too few to choose an epoch by; "
        "give --dev, or hold out more with --set dev_share=0.3"
    )
    assert chosen_by_chance(0) == chosen_by_chance(10) == []  # a file of one's own is one's own choice


def test_the_commands_say_it(classifier: Path, tmp_path: Path) -> None:
    same = write(tmp_path / "same.jsonl", *({"text": f"a lovely film {n}", "label": "good"} for n in range(3)))
    odd = write(tmp_path / "odd.jsonl", *reviews(1)[:3], {"text": "a good and lovely film", "label": "bad"})
    told = CliRunner().invoke(app, ["evaluate", str(classifier), str(odd)])
    assert "majority             always 'good': accuracy 0.7500" in told.output
    assert "warning              3 of 4 texts stand in the training file too" in told.output
    assert "warning              one answer to everything: 'good', where 2 different ones are right." in told.output
    assert "tags  " not in told.output
    record = json.loads(CliRunner().invoke(app, ["evaluate", str(classifier), str(same), "--json"]).output)
    assert record["majority"]["scores"]["accuracy"] == 1.0 and len(record["warnings"]) == 1


def test_the_first_example_is_measured_on_other_texts(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page(repository / "docs" / "finetuning.md")
    python, bash = (next(block.text for block in page.blocks if block.kind == kind) for kind in ("python", "bash"))
    monkeypatch.chdir(tmp_path)
    exec(compile(python, str(page.path), "exec"), {})
    train, test = (Path(re.search(rf"--{side} (\S+)", bash)[1]) for side in ("train", "test"))  # type: ignore[index]
    sides = [read_examples(TASKS["classify"], file, skip=refuse)[1] for file in (train, test)]
    assert all(len({example.gold for example in side}) == 2 for side in sides)
    remember(tmp_path, sides[0], [], again=False, writes=True)
    assert trained_on(tmp_path, sides[1], where="texts") == [] and trained_on(tmp_path, sides[0], where="texts")


def test_dev_answers_that_cannot_be_written_do_not_refuse_a_run(tmp_path: Path) -> None:
    """Of a task of one's own: an object is shown by its place in memory, a set in an order of its process."""
    some = [(object(),), {"x", "y"}, ("one",)]
    for own in (some, [(object(),), {"z"}, ("one",)]):
        examples = [Example(0, ("a",), gold, "line 1") for gold in own]
        remember(tmp_path, [], [], examples, again=own is not some, writes=True)
    with pytest.raises(DataError, match="training or dev records"):
        other = [*examples[:2], Example(0, ("a",), ("two",), "line 1")]
        remember(tmp_path, [], [], other, again=True, writes=True)


def test_seeds_keep_what_they_were_trained_on(tmp_path: Path, body: Path) -> None:
    told = config(tmp_path, body, task="tag", epochs=1)
    means = finetune_seeds(told, 2)
    assert (told.out / SEEN).is_file() and means["majority"]["answer"] == "O"
    again = evaluate(told.out, write(tmp_path / "b.jsonl", *tagged(3)))
    assert again["warnings"][0].startswith("3 of 3 texts stand in the training file too")
