"""Runs that several tests read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bothways.inference import LanguageModel
from tests.inference.made import load, make_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hybrid's run: both faces."""
    return make_run(tmp_path_factory.mktemp("runs") / "hybrid")


@pytest.fixture(scope="session")
def wordpiece_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "wordpiece", kind="wordpiece")


@pytest.fixture(scope="session")
def loaded(run: Path) -> LanguageModel:
    return load(run)
