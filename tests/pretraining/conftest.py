"""What tests of pretraining share: shards, and runs without what takes time and is tested elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from bothways.pretraining import run, setup
from tests.pretraining.small import make_shards


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About twenty steps of text."""
    return make_shards(tmp_path_factory.mktemp("corpus"), documents=120)


@pytest.fixture(scope="session")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So little text that a run of twelve steps reads it several times."""
    return make_shards(tmp_path_factory.mktemp("corpus"), documents=24, seed=1)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that neither measure the machine nor export a model."""
    monkeypatch.setattr(setup, "gemm_peak", lambda *_, **__: 1e11)
    monkeypatch.setattr(run, "finish", lambda _: None)
