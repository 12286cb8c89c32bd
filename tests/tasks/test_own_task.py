"""A user's own task: that of docs/your-own-task.md is found by `code`; what goes wrong in a file is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bothways.errors import BothwaysError, UsageError
from bothways.own import use
from bothways.tasks import TASKS
from bothways.tasks.own import OwnTaskError
from bothways.tasks.reading import read_examples
from bothways.tasks.records import refuse
from bothways.training.finetuning import evaluate, finetune, predict
from tests.pages import Page
from tests.tasks.conftest import config, write

PAGE = Page(Path(__file__).resolve().parents[2] / "docs" / "your-own-task.md")
MESSAGES = [
    {"text": f"{text} {number}", "label": label}
    for number in range(6)
    for label, text in (("low", "the lazy dog"), ("medium", "the brown fox"), ("high", "quick, jump"))
]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    before = dict(TASKS)
    yield
    TASKS.clear()
    TASKS.update(before)


def source() -> str:
    """The file that the page writes."""
    return PAGE.blocks[0].text.split("\n", 1)[1].rsplit("END", 1)[0]


def save(folder: Path, text: str) -> Path:
    file = folder / "my_task.py"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_pages_task_is_found_trained_and_asked(tmp_path: Path, body: Path) -> None:
    file, train = save(tmp_path, source()), write(tmp_path / "messages.jsonl", *MESSAGES)
    run = finetune(config(tmp_path, body, task="urgency", code=(file,), train=train, dev=train, epochs=8))
    TASKS.pop("urgency")  # as in another process
    assert evaluate(run, train)["closeness"] > 0.8
    predict(run, train, tmp_path / "out.jsonl")
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert first["label"] in ("low", "medium", "high") and len(first["probabilities"]) == 3


def failing(method: str, line: str) -> str:
    """The page's file with a method whose first line is another."""
    before, after = source().split(f"    def {method}(", 1)
    signature, rest = after.split("\n", 1)
    return f"{before}    def {method}({signature}\n        {line}\n{rest}"


@pytest.mark.parametrize(
    ("method", "line", "message"),
    [
        (
            "read",
            "1 / 0",
            r"'urgency', read in .*my_task.py \(line \d+\) failed, at .*a.jsonl, line 1: expected an Exa",
        ),
        ("read", "return record", r"'urgency', read in .*my_task.py .*a.jsonl, line 1: expected an Example, got \{'te"),
        (
            "encode",
            "return None",
            r"'urgency', encode in .*my_task.py .*, line 1: expected a list of Samples, .* got None",
        ),
        (
            "encode",
            "return [encode_texts(tokenizer, example.texts, length=length).sample(head, [7])]",
            r"'urgency', encode in .*my_task.py .*, line 1: expected a list of Samples, whose targets",
        ),
        (
            "encode",
            "return [encode_texts(tokenizer, example.texts, length=length).sample(head, ['low'])]",
            r"'urgency', encode in .*my_task.py .*, line 1: expected a list of Samples, whose targets",
        ),
        ("head", "return 'x'", r"'urgency', head in .*my_task.py .*expected a TaskHead whose .*, got 'x'"),
        (
            "head",
            "return TaskHead(self.name, 'labels', LEVELS, 'one', reads)",
            r"'urgency', head in .*my_task.py .*expected a TaskHead whose head is one of label, tags, .* got TaskHead",
        ),
        ("decode", "return {'level': 'low'}", r"'urgency', decode in .*expected .* the field 'label' .*got \{"),
        ("score", "return {}", r"'urgency', score in .*expected \{metric: float\}, 'closeness' first, .* got \{\}"),
        ("score", "return {'loss': 1.0}", r"'urgency', score in .*, 'closeness' first, .* got \{'loss': 1.0\}"),
        ("score", "return {'closeness': float('nan')}", r"'urgency', score in .*none may be nan, got \{'clo"),
        ("decode", "return output.loggits", r"'urgency', decode in .*\(line \d+\) failed, .*AttributeError"),
    ],
)
def test_a_method_that_fails_says_where(method: str, line: str, message: str, tmp_path: Path, body: Path) -> None:
    file, train = save(tmp_path, failing(method, line)), write(tmp_path / "a.jsonl", *MESSAGES)
    with pytest.raises(OwnTaskError, match=message):
        finetune(config(tmp_path, body, task="urgency", code=(file,), train=train, dev=train, epochs=1))


@pytest.mark.parametrize("key", ["label", ""])
def test_a_prediction_may_be_a_label_without_probabilities(key: str, tmp_path: Path, body: Path) -> None:
    text = failing("decode", "return {'label': 'low'}").replace('"label"\n', f'"{key}"\n', 1)
    file, train = save(tmp_path, text), write(tmp_path / "a.jsonl", *MESSAGES)
    run = finetune(config(tmp_path, body, task="urgency", code=(file,), train=train, dev=train, epochs=1))
    assert (run / "report.html").is_file()
    assert (evaluate(run, train)["majority"] is None) == (not key)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import bothways\n1 / 0\n", r"my_task.py does not run: ZeroDivisionError: division by zero \(line 2\)"),
        ("def x(:\n", r"my_task.py does not run: SyntaxError: [^(]*\(line 1\)$"),
        ("from bothways.tasks import register\nregister(3)\n", "expects a class made from Task, got 3"),
        (
            "from bothways.tasks import Task, register\n@register\nclass A(Task): name, metric = 'a', 'b'\n",
            r"the task 'a' \(A\) lacks decode, encode, head, read, roles, score",
        ),
        ("from bothways.tasks import Task, register\n@register\nclass A(Task): pass\n", "A expects name and metric"),
        (source().replace('"urgency", "c', '"classify", "c'), "the task 'classify' is one of Bothways' own"),
    ],
)
def test_a_file_that_is_no_task_says_why(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        use([save(tmp_path, text)])


def test_a_label_that_the_task_does_not_know_is_an_error_of_the_record(tmp_path: Path) -> None:
    use([save(tmp_path, source())])
    file = write(tmp_path / "a.jsonl", MESSAGES[0], {"text": "x", "label": "soon"})
    with pytest.raises(BothwaysError, match=r"a.jsonl, line 2: field 'label': expected one of low, .* got 'soon'"):
        read_examples(TASKS["urgency"], file, skip=refuse)
