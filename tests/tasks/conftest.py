"""Small files of every task, and runs that several tests read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bothways.training.finetuning import FinetuneConfig, finetune
from tests.conftest import Once
from tests.inference.made import make_run

Write = Callable[..., Path]
GOOD, BAD = (
    ("a lovely film", "quite lovely indeed", "good and lovely"),
    ("a dreadful film", "dreadful, all of it", "so bad"),
)


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def reviews(times: int = 8) -> list[dict[str, Any]]:
    return [
        {"text": f"{text} {number}", "label": label}
        for number in range(times)
        for label, texts in (("good", GOOD), ("bad", BAD))
        for text in texts
    ]


def tagged(times: int = 12) -> list[dict[str, Any]]:
    """Names are whatever follows "Mr"."""
    names = ["Fox", "Dog", "Lazy Dog"]
    found = []
    for number in range(times):
        name = names[number % 3].split()
        tokens = ["The", "quick", "Mr", *name, "jumps", "over", str(number)]
        tags = ["O", "O", "O", "B-PER", *["I-PER"] * (len(name) - 1), "O", "O", "O"]
        found.append({"tokens": tokens, "tags": tags})
    return found


@pytest.fixture(scope="session")
def body(once: Once) -> Path:
    """A pretrained run to go on from."""
    return once("body", lambda folder: make_run(folder / "wordpiece", kind="wordpiece"))


def config(folder: Path, body: Path, *, task: str = "classify", **changes: Any) -> FinetuneConfig:
    """A run in `folder` on the small file of a task."""
    folder.mkdir(parents=True, exist_ok=True)
    records = {"classify": reviews, "tag": tagged}.get(task, reviews)()
    train = write(folder / "train.jsonl", *records)
    values = {
        "model": str(body),
        "task": task,
        "train": train,
        "dev": train,
        "out": folder / "run",
        "precision": "fp32",
    }
    return FinetuneConfig(**{**values, "epochs": 2, "batch": 8, "learning_rate": 3e-3, **changes})


@pytest.fixture(scope="session")
def classifier(once: Once, body: Path) -> Path:
    return once("classifier", lambda folder: finetune(config(folder, body, epochs=6)))


@pytest.fixture(scope="session")
def tagger(once: Once, body: Path) -> Path:
    return once("tagger", lambda folder: finetune(config(folder, body, task="tag", epochs=12)))
