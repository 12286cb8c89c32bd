"""Shards and searches that take seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bothways.config import read
from bothways.training.search import SearchConfig
from tests.conftest import Once
from tests.in_this_process import in_this_process
from tests.training.pretraining.small import make_shards

TRAINING = {
    "length": 32,
    "step_tokens": 128,
    "micro_tokens": 128,
    "validation_rows": 4,
    "precision": "fp32",
    "schedule": {"warmup_steps": 4},
}


@pytest.fixture(scope="session")
def shards(once: Once) -> Path:
    return once("shards", lambda folder: make_shards(folder, documents=120))


@pytest.fixture(scope="module", autouse=True)
def one_after_another() -> Iterator[None]:
    with in_this_process():
        yield


@pytest.fixture
def configured(shards: Path, tmp_path: Path) -> Callable[..., SearchConfig]:
    """A search among three rates, with what is given changed."""

    def make(**changes: Any) -> SearchConfig:
        values = {
            "shards": shards,
            "out": tmp_path / "search",
            "objective": "mlm",
            "model": {"layers": 1, "width": 32, "heads": 2, "inner": 48},
            "training": TRAINING,
            "hours": 2.0,
            "space": [{"rate": [0.5, 1.0]}],
        }
        return read(SearchConfig, values | changes)

    return make
