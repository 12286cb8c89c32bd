"""What all tests share: no network, the same random cases every time, and the corpora beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

import bothways

os.environ["PYTHONPATH"] = str(
    Path(bothways.__file__).resolve().parent.parent
)  # processes that tests start find it too
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

settings.register_profile("bothways", deadline=None, derandomize=True, max_examples=60, database=None)
settings.load_profile("bothways")


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data(repository: Path) -> Path:
    """The corpora and evaluation files that lie beside the repository; a test that needs them is skipped without."""
    folder = repository.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data beside the repository")
    return folder


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Sums over two threads differ in the last bit from sums over one, and the workers of a test have one."""
    import torch

    torch.set_num_threads(1)
