"""What a run, an answer or a score will not do in silence: leave out, cut, guess anew, or count what is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

import bothways
from bothways.errors import BothwaysError, DataError, DivergedError, ModelError, UsageError
from bothways.statistics import bootstrap
from bothways.tasks import TASKS
from bothways.tasks.reading import read_examples
from bothways.tasks.records import Skipped, refuse
from bothways.tasks.task import Example
from bothways.training.finetuning import evaluate, finetune, predict
from bothways.training.run_folder import RunFolder
from tests.tasks.conftest import config, reviews, tagged, write

ASKED = {"question": "who jumps?", "context": "the quick fox jumps over the dog", "answers": [{"text": "fox"}]}


def read(task: str, file: Path) -> Any:
    return read_examples(TASKS[task], file, skip=refuse)[1]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_an_answer_that_no_window_holds_is_not_taught_as_none(tmp_path: Path, body: Path) -> None:
    long = "fox " * 60
    train = write(tmp_path / "a.jsonl", *[ASKED] * 8, {**ASKED, "context": f"{long}jumps", "answers": [{"text": long}]})
    told = config(tmp_path / "one", body, task="answer", train=train, dev=train, epochs=1, length=48)
    with pytest.raises(DataError, match=r"a.jsonl, line 9: no window holds the answer: it is 60 tokens"):
        finetune(told)
    run = finetune(told.model_copy(update={"skip_bad": True}))
    assert "line 9" in RunFolder(run).manifest()["skipped"][0]
    assert evaluate(run, train)["examples"] == 9  # to be asked about it does no harm


def test_cuts_are_counted_wherever_they_are_made(tmp_path: Path, body: Path) -> None:
    long = [{**one, "text": f"{one['text']} {'x ' * 40}"} for one in reviews(2)]
    file = write(tmp_path / "long.jsonl", *long)
    run = finetune(config(tmp_path, body, test=file, epochs=1, length=32))
    assert RunFolder(run).manifest()["truncated"] == {"train": 0, "dev": 0, "test": 12, "length": 32}
    assert evaluate(run, file)["truncated"] == 12
    predict(run, file, tmp_path / "out.jsonl")
    model = bothways.load(run, device="cpu")
    with pytest.warns(UserWarning, match="cut to the 32 tokens that the model reads: 1 of 1 texts") as warned:
        alone = model.classify(long[0]["text"])
    assert warned[0].filename == __file__
    assert lines(tmp_path / "out.jsonl")[0]["probabilities"] == pytest.approx(alone.probabilities, abs=0.02)


def test_a_long_question_is_cut_and_said(tmp_path: Path, body: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.jsonl", *[ASKED] * 8)
    run = finetune(config(tmp_path, body, task="answer", train=file, dev=file, epochs=1))
    long = {**ASKED, "question": "who is " * 40}
    with pytest.raises(DataError, match="line 1: a question of 64 tokens leaves no room for its context in 64"):
        predict(run, write(tmp_path / "b.jsonl", long), tmp_path / "out.jsonl")
    with pytest.raises(UsageError, match="leaves no room"):
        bothways.load(run, device="cpu").answer(long["question"], long["context"])
    monkeypatch.setattr("bothways.tasks.answer.QUESTION", 8)
    predict(run, tmp_path / "b.jsonl", tmp_path / "out.jsonl")
    assert lines(tmp_path / "out.jsonl")[0]["truncated"] == 152  # of 160 tokens
    with pytest.warns(UserWarning, match="tokens of a question") as warned:
        bothways.load(run, device="cpu").answer(long["question"], long["context"])
    assert warned[0].filename == __file__


def test_a_label_that_is_held_out_alone_is_trained(tmp_path: Path, body: Path) -> None:
    rare = [{"text": f"neither {n}", "label": f"rare {n}"} for n in range(30)]
    train = write(tmp_path / "a.jsonl", *reviews(), *rare)
    run = finetune(config(tmp_path, body, train=train, dev=None, epochs=1))
    manifest = RunFolder(run).manifest()
    assert len(manifest["labels"]) == 32
    assert manifest["examples"]["train"] + manifest["examples"]["dev"] == 78


def test_the_columns_of_training_are_those_of_asking(tmp_path: Path, body: Path) -> None:
    both = [{"text": "the same", "body": one["text"], "label": one["label"]} for one in reviews()]
    train = write(tmp_path / "a.jsonl", *both)
    run = finetune(config(tmp_path, body, train=train, dev=train, columns={"text": "body"}, epochs=6))
    shown: list[str] = []
    predict(run, train, tmp_path / "one.jsonl", show=lambda columns: shown.append(str(columns)))
    predict(run, train, tmp_path / "two.jsonl", columns={"text": "text"})
    one, two = ([line["label"] for line in lines(tmp_path / f"{name}.jsonl")] for name in ("one", "two"))
    assert shown == ["text from 'body'"] and one == [line["label"] for line in both] and len({*two}) == 1
    tagging = [{"text": " ".join(one["tokens"]), "spans": []} for one in tagged()]
    tagging[0] = {"text": "Mr Fox", "spans": [{"start": 3, "end": 6, "label": "PER"}]}
    file = write(tmp_path / "spans.jsonl", *tagging)
    tagger = finetune(config(tmp_path / "tag", body, task="tag", train=file, dev=file, epochs=1))
    more = write(tmp_path / "more.jsonl", *({**one, "tokens": ["a"]} for one in tagging))
    predict(tagger, more, tmp_path / "three.jsonl")  # a column more is not one that was asked for
    other = write(tmp_path / "other.jsonl", *reviews(1))
    assert evaluate(run, other)["examples"] == 6  # has no such column


def test_one_text_is_not_two(tmp_path: Path, body: Path, classifier: Path) -> None:
    pairs = [{"text_a": one["text"], "text_b": "indeed", "label": one["label"]} for one in reviews()]
    file, single = write(tmp_path / "pairs.jsonl", *pairs), write(tmp_path / "single.jsonl", *reviews())
    run = finetune(config(tmp_path / "run", body, train=file, dev=file, epochs=1))
    with pytest.raises(DataError, match="line 1: expected two texts, as the model was trained on, got one text"):
        predict(run, single, tmp_path / "out.jsonl")
    with pytest.raises(DataError, match="line 1: expected one text, as the model was trained on, got two texts"):
        evaluate(classifier, file)
    with pytest.raises(UsageError, match="expected one text"):
        bothways.load(classifier, device="cpu").classify(("a", "b"))
    with pytest.raises(DataError, match="single.jsonl, line 1: expected two texts"):
        finetune(config(tmp_path / "other", body, train=file, dev=single))


@pytest.mark.parametrize(
    ("task", "changes", "said"),
    [
        ("classify", {"columns": {"score": "label"}}, "classify has no column for score here; it has: text, label"),
        ("tag", {"class_weights": "balanced"}, "class_weights=balanced is for classify"),
        ("regress", {"label_smoothing": 0.1}, "label_smoothing is for one label an example"),
    ],
)
def test_a_setting_that_would_do_nothing_leaves_no_run_behind(
    task: str, changes: dict[str, Any], said: str, tmp_path: Path, body: Path
) -> None:
    stars = write(tmp_path / "stars.jsonl", *({"text": f"film {n}", "score": n} for n in range(20)))
    files = {"train": stars, "dev": stars} if task == "regress" else {}
    with pytest.raises(UsageError, match=said):
        finetune(config(tmp_path, body, task=task, **files, **changes))
    assert not (tmp_path / "run").exists()


def test_where_all_is_left_out_there_is_nothing_to_measure(tmp_path: Path, body: Path, classifier: Path) -> None:
    unknown = write(tmp_path / "unknown.jsonl", {"text": "x", "label": "odd"})
    with pytest.raises(DataError, match=r"unknown.jsonl: expected examples to measure by, got none"):
        evaluate(classifier, unknown, skip=Skipped())
    alike = write(tmp_path / "alike.jsonl", *({"text": "x", "label": label} for label in "abab"))
    with pytest.raises(DataError, match=r"alike.jsonl: the 4 examples have the same text, .* or name a --dev file."):
        finetune(config(tmp_path, body, dev=None, train=alike))
    few = config(tmp_path, body, dev=None, train=write(tmp_path / "few.jsonl", *reviews(1)), dev_share=1e-9)
    with pytest.raises(DataError, match=r"few.jsonl: .* to choose by, got none. Bring more, or name a --dev file."):
        finetune(few.model_copy(update={"skip_bad": True}))
    for side, what in (("dev", "to choose by"), ("test", "to measure by")):
        left_out = "1 were left out, the first: .*unknown.jsonl, line 1: the label 'odd' was not trained"
        with pytest.raises(DataError, match=rf"unknown.jsonl: expected examples {what}, got none. {left_out}"):
            finetune(config(tmp_path / side, body, skip_bad=True, **{side: unknown}))


def test_nothing_is_answered_by_nothing(tagger: Path, classifier: Path, tmp_path: Path) -> None:
    names = bothways.load(tagger, device="cpu")
    assert names.tag("").words == [] and names.tag([]) == []
    assert bothways.load(classifier, device="cpu").classify([]) == []
    dropped = write(tmp_path / "a.jsonl", {"text": "\u200b"})
    assert predict(tagger, dropped, tmp_path / "out.jsonl") == 1


def test_words_that_the_tokenizer_drops_cannot_be_taught(tmp_path: Path, body: Path) -> None:
    train = write(tmp_path / "a.jsonl", *tagged(), {"tokens": ["\u200b"], "tags": ["O"]})
    with pytest.raises(DataError, match="line 13: expected a text, got none that the tokenizer keeps"):
        finetune(config(tmp_path, body, task="tag", train=train, dev=train, batch=1))


def test_where_answers_go(classifier: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", {"id": "half ½", "text": "a lovely film"})
    with pytest.raises(UsageError, match="is a folder: name another"):
        predict(classifier, file, tmp_path)
    with pytest.raises(UsageError, match="is the file that is read"):
        predict(classifier, file, file)
    out = tmp_path / "new" / "folder" / "out.jsonl"
    predict(classifier, file, out)
    assert lines(out)[0]["id"] == "half ½"
    with pytest.raises(BothwaysError, match=r"missing.jsonl"):
        predict(classifier, tmp_path / "missing.jsonl", out)


def test_a_model_that_says_no_numbers_is_not_kept(tmp_path: Path, body: Path) -> None:
    with pytest.raises(ModelError, match="not finite"):
        finetune(config(tmp_path, body, learning_rate=1e30))
    with pytest.raises(DivergedError, match=r"lower rate than 1e\+30: --set learning_rate="):
        finetune(config(tmp_path / "longer", body, learning_rate=1e30, batch=2))
    assert not list(tmp_path.glob("**/model"))


def test_tables_hold_lists(tmp_path: Path) -> None:
    quoted = json.dumps(json.dumps(["b", "a"]))[1:-1].replace('\\"', '""')
    (tmp_path / "a.csv").write_text(f',text,label\n5,x,"{quoted}"\n6,[sic],good\n', encoding="utf-8")
    first, second = read("classify", tmp_path / "a.csv")
    assert first.gold == ("a", "b") and (second.texts, second.gold) == (("[sic]",), "good")
    assert (first.id, second.id) == (0, 1)  # a column without a name is none
    (tmp_path / "a.tsv").write_text(
        'text\tlabel\n"It was good\tpos\n"Great" film\tneg\n"said ""so"""\tpos\n', encoding="utf-8"
    )
    assert [one.texts[0] for one in read("classify", tmp_path / "a.tsv")] == [
        '"It was good',
        '"Great" film',
        'said "so"',
    ]
    (tmp_path / "b.csv").write_text("text,text,label\nx,y,z\n", encoding="utf-8")
    with pytest.raises(UsageError, match="expected a name for each column, got 'text' twice"):
        read("classify", tmp_path / "b.csv")
    (tmp_path / "d.csv").write_text('tokens,tags\n"[""I"", ""saw""]","[""O"", ""B-X""]"\nI saw,O O\n', encoding="utf-8")
    assert [one.gold for one in read("tag", tmp_path / "d.csv")] == [("O", "B-X"), ("O", "O")]
    place = '"{""start"": 4, ""end"": 7}"'
    (tmp_path / "e.csv").write_text(f"text,head,tail,label\nthe fox runs,{place},runs,a\n", encoding="utf-8")
    assert read("relate", tmp_path / "e.csv")[0].pair.things.tolist() == [[4, 7], [8, 12]]
    text = write(tmp_path / "f.jsonl", {"text": "x", "label": "[1, 2]"})
    assert read("classify", text)[0].gold == "[1, 2]"  # a list is a list there
    (tmp_path / "c.csv").write_text('question,choices,answer\nq,"[""x"", ""y""]",y\n', encoding="utf-8")
    (one,) = read("choose", tmp_path / "c.csv")
    assert one.texts == ("", "q", "x", "y") and one.gold == 1
    (tmp_path / "c.csv").write_text('question,choices,answer\nq,"[""x"", ""y""]",1\n', encoding="utf-8")
    assert read("choose", tmp_path / "c.csv")[0].gold == 1


def test_no_context_is_none(tmp_path: Path) -> None:
    record = {"question": "q", "choices": ["x", "y"], "context": None, "answer": 0}
    assert read("choose", write(tmp_path / "a.jsonl", record))[0].texts[0] == ""
    with pytest.raises(DataError, match="field 'context': expected a text, or a list of them, got 3"):
        read("choose", write(tmp_path / "b.jsonl", {**record, "context": 3}))


@pytest.mark.parametrize(
    "span",
    [
        {"start": 3, "end": 500, "label": "P"},
        {"start": -5, "end": 2, "label": "P"},
        {"start": 2, "end": 6, "label": "P"},
        {"start": 3, "end": 6, "label": None},
        {"start": 3, "end": 6, "label": " "},
        {"start": 3.9, "end": 6, "label": "P"},
    ],
)
def test_a_span_is_where_words_are(span: dict[str, Any], tmp_path: Path) -> None:
    text = "Hi Bob \U0001f600 Eve"
    with pytest.raises(DataError, match="field 'spans': expected"):
        read("tag", write(tmp_path / "a.jsonl", {"text": text, "spans": [span]}))
    good = write(tmp_path / "b.jsonl", {"text": text, "spans": [{"start": 3, "end": 6, "label": "P"}]})
    assert read("tag", good)[0].gold == ("O", "B-P", "O", "O")


@pytest.mark.parametrize("labels", [("a",), ("a", "b", "c")])
def test_f1_of_lists_of_labels(labels: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    right, found = (rng.random((2, 40, len(labels))) < 0.4).astype(int)
    names = [[tuple(label for label, is_there in zip(labels, row, strict=True) if is_there) for row in side]
             for side in (right, found)]  # fmt: skip
    examples = [Example(number, ("x",), gold, "f, line 1") for number, gold in enumerate(names[0])]
    answers = TASKS["classify"].head([Example(0, ("x",), labels, "f, line 1")], reads="encoder")
    scores = TASKS["classify"].score(examples, [{"label": list(said)} for said in names[1]], answers)
    if len(labels) > 1:  # of a single column scikit-learn makes two classes
        assert scores["micro_f1"] == pytest.approx(f1_score(right, found, average="micro"))
        assert scores["macro_f1"] == pytest.approx(f1_score(right, found, average="macro"))
    else:
        assert scores["micro_f1"] == scores["macro_f1"] == pytest.approx(f1_score(right[:, 0], found[:, 0]))
    nothing = TASKS["classify"].score(examples, [{"label": []} for _ in examples], answers)
    assert nothing["micro_f1"] == nothing["macro_f1"] == 0


def test_an_interval_of_retrieval_is_around_its_score() -> None:
    rng = np.random.default_rng(0)
    examples = [Example(number, (f"q{number}", f"d{number}"), None, "f, line 1") for number in range(200)]
    vectors = rng.normal(size=(200, 8))
    near = vectors + 1.2 * rng.normal(size=(200, 8))
    said = [{"vector": one, "other": other} for one, other in zip(vectors, near, strict=True)]
    task = TASKS["embed"]
    head = task.head(examples, reads="encoder")
    intervals = bootstrap(task.scores_of(examples, said, head), len(examples))
    scores = task.score(examples, said, head)
    for name, (low, high) in intervals.items():
        assert low < scores[name] < high and (low + high) / 2 == pytest.approx(scores[name], abs=0.02)


def test_labels_in_the_order_of_numbers_and_words_with_dashes(tmp_path: Path) -> None:
    examples = read("classify", write(tmp_path / "a.jsonl", *({"text": "x", "label": one} for one in ("--1", 10, -2))))
    assert TASKS["classify"].head(examples, reads="encoder").labels == ("-2", "10", "--1")
    with pytest.raises(DataError, match="field 'label': expected a label"):
        read("classify", write(tmp_path / "b.jsonl", {"text": "x", "label": ["x", None]}))
