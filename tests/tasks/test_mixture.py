"""Mixtures of tasks: labelled records in prompts that are drawn, caps and weights, and what is held out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from bothways.errors import DataError, UsageError
from bothways.tasks import task_named
from bothways.tasks.mixture import examples_by_task
from bothways.tasks.reading import hold_out, read_examples
from bothways.tasks.records import Skipped, refuse
from tests.tasks.conftest import write

TASK = task_named("instruct")
WAYS = [
    {"prompt": "Good or bad? {{ text }}", "answer": "{{ label }}"},
    {"prompt": "{{ text }}: what is it?", "answer": "It is {{ ['bad', 'good'][label == 'good'] }}."},
    {"prompt": "{% if text == 'a fox' %}Only foxes: {{ text }}{% endif %}", "answer": "{{ label }}"},
]


def mixture(folder: Path, **changes: Any) -> Path:
    """Reviews, and questions that are held out as a family."""
    folder.mkdir(exist_ok=True)
    texts = ["a fox", *(f"text {number}" for number in range(19))]
    write(folder / "reviews.jsonl", *({"text": text, "label": ["good", "bad"][len(text) % 2]} for text in texts))
    write(folder / "asked.jsonl", *({"q": f"question {number}", "a": str(number)} for number in range(5)))
    reviews = {"name": "reviews", "family": "sentiment", "file": "reviews.jsonl", "prompts": WAYS, **changes}
    asked = {"name": "asked", "family": "questions", "file": "asked.jsonl"}
    asked["prompts"] = [{"prompt": "{{ q }}?", "answer": "{{ a }}"}]
    (folder / "mix.yaml").write_text(yaml.safe_dump({"tasks": [reviews, asked], "held_out": ["questions"]}))
    return folder / "mix.yaml"


def test_a_prompt_is_drawn_for_every_record(tmp_path: Path) -> None:
    columns, found = read_examples(TASK, mixture(tmp_path), skip=refuse)
    assert str(columns) == "reviews: 3 prompts of 1 tasks; held out: asked"
    assert len(found) == 20 and found == read_examples(TASK, mixture(tmp_path), skip=refuse)[1]
    said = {example.texts[0]: example.gold[0] for example in found}
    kinds = Counter(text.startswith("Good or bad?") for text in said)
    assert min(kinds[True], kinds[False]) > 3
    for text, answer in said.items():
        label = answer.removeprefix("It is ").removesuffix(".")
        assert label == ["good", "bad"][len(text.removeprefix("Good or bad? ").removesuffix(": what is it?")) % 2]
    assert all("reviews.jsonl, line " in example.place for example in found)


def test_a_prompt_that_is_empty_for_a_record_is_not_drawn(tmp_path: Path) -> None:
    _, found = read_examples(TASK, mixture(tmp_path, prompts=WAYS[2:]), skip=(skipped := Skipped()))
    assert [example.texts[0] for example in found] == ["Only foxes: a fox"] and len(skipped.found) == 19
    with pytest.raises(DataError, match=r"reviews.jsonl, line \d+: reviews, every prompt is empty"):
        read_examples(TASK, mixture(tmp_path, prompts=WAYS[2:]), skip=refuse)


def test_caps_and_weights(tmp_path: Path) -> None:
    """A record that is taken twice is asked about in two ways, and both are held out or neither."""
    assert len(read_examples(TASK, mixture(tmp_path, most=7), skip=refuse)[1]) == 7
    assert len(read_examples(TASK, mixture(tmp_path, most=8, weight=0.5), skip=refuse)[1]) == 4
    _, found = read_examples(TASK, mixture(tmp_path, weight=2.0, prompts=WAYS[:2]), skip=refuse)
    assert len(found) == len({example.texts for example in found}) == 40
    train, dev = hold_out(found, 0.3)
    assert train and dev and not {one.sealed for one in train} & {one.sealed for one in dev}


def test_what_is_held_out_is_not_taught(tmp_path: Path) -> None:
    path = mixture(tmp_path)
    held, kept = (examples_by_task(path, refuse, held_out=out) for out in (True, False))
    assert [*held] == ["asked"] and [*kept] == ["reviews"]
    assert [example.gold for example in sorted(held["asked"], key=lambda one: one.id)] == [(str(i),) for i in range(5)]
    assert not {one.texts for one in held["asked"]} & {one.texts for one in read_examples(TASK, path, skip=refuse)[1]}


@pytest.mark.parametrize(
    ("prompts", "kind", "message"),
    [
        ([{"prompt": "{{ txt }}", "answer": "a"}], DataError, "reviews, prompt 1: 'txt' is undefined"),
        ([{"prompt": "{{ text }", "answer": "a"}], UsageError, "mix.yaml: reviews, prompt 1: does not read"),
        ([{"prompt": "{% include '/etc/passwd' %}", "answer": "a"}], DataError, "prompt 1: no loader"),
        ([{"prompt": "{{ text.__class__.__mro__ }}", "answer": "a"}], DataError, "prompt 1: .*unsafe"),
        ([{"prompt": "{{ 1 // 0 }}", "answer": "a"}], DataError, "prompt 1: integer division or modulo by zero"),
        ([{"prompt": "{{ range(1000000) | list }}", "answer": "a"}], DataError, "prompt 1: Range too big"),
        ([], UsageError, "mix.yaml: configuration: tasks.0.prompts"),
        ([{"prompt": "{{ text }}"}], UsageError, "mix.yaml: configuration: tasks.0.prompts.0.answer"),
    ],
    ids=["field", "syntax", "file", "code", "zero", "range", "none", "answer"],
)  # fmt: skip
def test_a_prompt_that_fails_is_named(prompts: Any, kind: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=message):
        read_examples(TASK, mixture(tmp_path, prompts=prompts), skip=refuse)


def test_what_is_no_mixture_is_said(tmp_path: Path) -> None:
    path = mixture(tmp_path)
    told = yaml.safe_load(path.read_text())

    def read(**changes: Any) -> None:
        path.write_text(yaml.safe_dump({**told, **changes}))
        read_examples(TASK, path, skip=refuse)

    with pytest.raises(
        UsageError, match="held_out: expected a family or a task, got 'nothing'; there are reviews, asked"
    ):
        read(held_out=["nothing"])
    with pytest.raises(UsageError, match="expected a task that is not held out, got none"):
        read(held_out=["sentiment", "asked"])
    with pytest.raises(UsageError, match="expected a name of its own for each task, got 'reviews' twice"):
        read(tasks=[told["tasks"][0]] * 2)
    with pytest.raises(UsageError, match="mix.yaml: unknown configuration key"):
        read(task=[])
    with pytest.raises(DataError, match="nowhere.jsonl: expected a file to read"):
        read(tasks=[{**told["tasks"][0], "file": "nowhere.jsonl"}, told["tasks"][1]])
    with pytest.raises(UsageError, match="expected records in .jsonl"):
        read_examples(task_named("text2text"), path, skip=refuse)
