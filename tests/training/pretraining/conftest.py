"""What tests of pretraining share: shards, and runs without what takes time and is tested elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bothways.machine import BF16
from bothways.training.pretraining import run, setup
from tests.conftest import Once
from tests.training.pretraining.small import make_shards


@pytest.fixture(autouse=True, scope="package")
def named_precision() -> Iterator[None]:
    """Runs here name their precision: those in bf16 hold where it is switched off for the rest of the suite too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(BF16, raising=False)
        yield


@pytest.fixture(scope="session")
def shards(once: Once) -> Path:
    """About twenty steps of text."""
    return once("shards", lambda folder: make_shards(folder, documents=120))


@pytest.fixture(scope="session")
def little(once: Once) -> Path:
    """So little text that a run of twelve steps reads it several times."""
    return once("little", lambda folder: make_shards(folder, documents=24, seed=1))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that neither measure the machine nor export a model."""
    monkeypatch.setattr(setup, "gemm_peak", lambda *_, **__: 1e11)
    monkeypatch.setattr(run, "finish", lambda _: None)
