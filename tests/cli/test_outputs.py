"""Every command that writes is refused while another writes there, and where nothing can be, before its work.

What the commands would read is not there: each is refused before it is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from bothways.claims import claimed
from bothways.errors import BothwaysError
from tests.cli.conftest import Invoke

RECORDS = "nowhere.jsonl"
PATTERN = ("--pattern", "{text} It was [MASK].", "--verbaliser", "good=fine,bad=poor")
FOLDERS: dict[str, tuple[object, ...]] = {
    "prepare": ("prepare", "TEXT.txt", "--out"),
    "pretrain": ("pretrain", "nowhere", "--out"),
    "finetune": ("finetune", "nowhere", "--train", RECORDS, "--task", "classify", "--out"),
    "adapter": ("finetune", "nowhere", "--train", RECORDS, "--task", "tag", "--adapter", "lora(rank=2)", "--out"),
    "prefer": ("finetune", "nowhere", "--train", RECORDS, "--task", "prefer", "--out"),
    "reward": ("finetune", "nowhere", "--train", RECORDS, "--task", "reward", "--out"),
    "grpo": ("finetune", "nowhere", "--train", RECORDS, "--task", "grpo", "--out"),
    "seeds": ("finetune", "nowhere", "--train", RECORDS, "--task", "classify", "--seeds", 2, "--out"),
    "several": ("finetune", "nowhere", "--tasks", "TASKS", "--out"),
    "pet": ("pet", "nowhere", "--train", RECORDS, "--unlabelled", RECORDS, *PATTERN, "--out"),
    "search": ("search", "nowhere", "--hours", 1, "--out"),
    "compare": ("compare", "nowhere", "--objectives", "causal; mlm", "--out"),
    "merge": ("merge", "ADAPTER", "--out"),
}
FILES: dict[str, tuple[object, ...]] = {
    "predict": ("predict", "nowhere", RECORDS, "--out"),
    "prompt": ("prompt", "nowhere", RECORDS, *PATTERN, "--out"),
    "word-vectors": ("word-vectors", "nowhere", "--out"),
    "judge": ("judge", "nowhere", "--prompts", RECORDS, "--out"),
    "probe": ("probe", "nowhere", "--pairs", RECORDS, "--out"),
    "probe-layers": ("probe-layers", "nowhere", "--task", "tag", "--train", RECORDS, "--test", RECORDS, "--out"),
    "contextuality": ("contextuality", "nowhere", "--texts", RECORDS, "--out"),
    "attention": ("attention", "nowhere", "some text", "--out"),
    "show-objective": ("show-objective", "nowhere", "some text", "--html"),
    "chat": ("chat", "nowhere", "a question", "--save"),
}


@contextmanager
def held(out: Path, kind: str) -> Iterator[None]:
    """By another thread, which is to a claim as another process."""
    with ThreadPoolExecutor(1) as other:
        claim = claimed(out, kind=kind)  # type: ignore[arg-type]
        other.submit(claim.__enter__).result()
        try:
            yield
        finally:
            other.submit(claim.__exit__, None, None, None).result()


def refused(invoke: Invoke, command: str, folder: Path, out: Path) -> str:
    """What a command says; all files are as they were before it."""
    (folder / "TEXT.txt").write_text("a text")
    (folder / "TASKS").write_text("tasks: [{name: one, task: classify, train: nowhere.jsonl}]")
    (folder / "ADAPTER").mkdir()
    (folder / "ADAPTER" / "adapter_model.safetensors").touch()
    words = (FOLDERS | FILES)[command]
    named = [folder / word if word in ("TEXT.txt", "TASKS", "ADAPTER") else word for word in words]
    before = sorted(folder.rglob("*"))
    with pytest.raises(BothwaysError) as error:
        invoke(*named, out)
    assert sorted(folder.rglob("*")) == before
    return f"exit code {error.value.exit_code}: {error.value}"


@pytest.mark.parametrize("command", [*FOLDERS, *FILES])
def test_the_second_is_refused_and_the_first_unharmed(command: str, invoke: Invoke, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with held(out, "folder" if command in FOLDERS else "file"):
        why = f"is being written by process {os.getpid()} on"
        assert f"exit code 2: {out} {why}" in refused(invoke, command, tmp_path, out)


@pytest.mark.parametrize("command", [*FOLDERS, *FILES])
def test_a_place_that_cannot_be_is_found_before_the_work(command: str, invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refused(invoke, command, tmp_path, tmp_path / "file" / "out")
    assert said.startswith("exit code 6: ") and "A file stands where a folder is expected" in said
