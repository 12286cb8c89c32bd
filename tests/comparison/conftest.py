"""A comparison of two objectives on a small corpus, made once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bothways.comparison import CompareConfig, compare
from tests.pretraining.small import make_shards

BUDGET = 5e9  # some twenty steps
TRAINING = {
    "length": 32,
    "step_tokens": 128,
    "micro_tokens": 128,
    "validation_rows": 4,
    "precision": "fp32",
    "schedule": {"warmup_steps": 2},
}


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("corpus"), documents=120)


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Minimal pairs, a probe whose classes are told apart by a word, and a task."""
    folder = tmp_path_factory.mktemp("questions")
    pairs = [{"good": f"a b {i}", "bad": f"b a {i}", "paradigm": "order"} for i in range(6)]
    texts = [{"text": f"{'red' if i % 2 else 'blue'} thing {i}", "label": i % 2} for i in range(40)]
    for name, records in (("pairs", pairs), ("train", texts[:30]), ("test", texts[30:])):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")
    probe = (folder / "train.jsonl", folder / "test.jsonl")
    tags = [{"tokens": ["a", "b", str(i)], "tags": ["B-X", "O", "B-Y" if i % 2 else "O"]} for i in range(40)]
    for name, records in (("tags", tags[:30]), ("tagged", tags[30:])):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")
    tasks = {"names": {"task": "tag", "train": folder / "tags.jsonl", "test": folder / "tagged.jsonl"}}
    return {
        "pairs": (folder / "pairs.jsonl",),
        "probes": {"colour": probe},
        "tasks": tasks,
        "validation_rows": 8,
    }


@pytest.fixture(scope="session")
def configured(shards: Path, questions: dict[str, Any]) -> Callable[..., CompareConfig]:
    """A configuration that takes seconds, with what is given changed."""

    def make(out: Path, **changes: Any) -> CompareConfig:
        values = {
            "shards": shards,
            "out": out,
            "objectives": ("causal", "causal -> mlm"),
            "budget": {"flops": BUDGET},
            "seeds": 2,
            "model": {"layers": 1},
            "training": TRAINING,
            "search": {"factors": (1.0,)},
            "at_once": 2,
            **questions,
        }
        return CompareConfig.model_validate(values | changes)

    return make


@pytest.fixture(scope="session")
def compared(configured: Callable[..., CompareConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished comparison."""
    out = tmp_path_factory.mktemp("comparison") / "cmp"
    compare(configured(out))
    return out
