"""What all tests share: no network, one thread, the same random cases every time, and what is made once for all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

import bothways

os.environ["PYTHONPATH"] = str(
    Path(bothways.__file__).resolve().parent.parent
)  # processes that tests start find it too
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"  # the workers share the cores; so do the processes that they start

settings.register_profile("bothways", deadline=None, derandomize=True, max_examples=60, database=None)
settings.load_profile("bothways")

Once = Callable[[str, Callable[[Path], Path]], Path]
LONG = ("test_docs.py", "test_compare.py", "test_processes.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that in the end no worker is left alone with one."""
    items.sort(key=lambda item: item.path.name not in LONG)


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


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`once(name, make)`: what `make` left in the folder that it was given, which is made by the first worker that asks
    for it and found by the others. Tests do not change it."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    place.mkdir(exist_ok=True)

    def find(name: str, make: Callable[[Path], Path]) -> Path:
        folder, note = place / name, place / f"{name}.txt"
        with FileLock(place / f"{name}.lock"):
            if not note.exists():
                shutil.rmtree(folder, ignore_errors=True)  # half made by a worker that was killed
                folder.mkdir()
                note.write_text(str(make(folder)), encoding="utf-8")
        return Path(note.read_text(encoding="utf-8"))

    return find


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Sums over two threads differ in the last bit from sums over one, and the workers of a test have one."""
    import torch

    torch.set_num_threads(1)
