"""A comparison of two objectives on a small corpus, made once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bothways.config import read
from bothways.evaluation.comparison import CompareConfig, compare
from tests.conftest import Once
from tests.in_this_process import in_this_process
from tests.training.pretraining.small import make_shards

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
def shards(once: Once) -> Path:
    return once("shards", lambda folder: make_shards(folder, documents=120))


@pytest.fixture(scope="session")
def eval_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Minimal pairs, a probe whose classes are told apart by a word, and a task."""
    folder = tmp_path_factory.mktemp("eval-data")
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
def configured(shards: Path, eval_data: dict[str, Any]) -> Callable[..., CompareConfig]:
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
            "at_once": 1,
            **eval_data,
        }
        return read(CompareConfig, values | changes)

    return make


@pytest.fixture(scope="module", name="in_this_process")
def one_after_another() -> Iterator[None]:
    """tests/cli/test_comparison.py starts processes, and so does the test that stops one."""
    with in_this_process():
        yield


@pytest.fixture(scope="module")
def compared(
    configured: Callable[..., CompareConfig], tmp_path_factory: pytest.TempPathFactory, in_this_process: None
) -> Path:
    """The folder of a finished comparison."""
    out = tmp_path_factory.mktemp("comparison") / "cmp"
    compare(configured(out))
    return out
