"""--device, in every command that loads a model or trains: what is not there is refused before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bothways import machine
from bothways.cli import GROUPS
from bothways.errors import MachineError, UsageError
from bothways.training.processes import processes
from tests.cli.conftest import Invoke
from tests.cli.test_help import helped
from tests.tasks.conftest import reviews, write

ASKING = ("fill", "infill", "generate", "chat", "score", "embed", "detect")
COMMANDS = [
    name
    for group in GROUPS.values()
    for command in group
    if "--device" in helped(name := command.__name__.replace("_", "-"))
]


@pytest.fixture
def words(run: Path, shards: Path, tmp_path: Path) -> dict[str, list[object]]:
    """{command: the words that it needs}."""
    train = write(tmp_path / "train.jsonl", *reviews())
    texts = tmp_path / "texts.txt"
    texts.write_text("the boat went down the river\n", encoding="utf-8")
    prompts = write(tmp_path / "prompts.jsonl", {"prompt": "the boat"})
    out, asked = tmp_path / "out", ["--pattern", "{text} [MASK]", "--verbaliser", "good=good,bad=bad"]
    return {name: [run, "the [MASK] boat"] for name in ASKING} | {
        "pretrain": [shards, "--out", out],
        "search": [shards, "--out", out, "--hours", 1],
        "babylm": [texts, "--out", out],
        "compare": [shards, "--out", out, "--objectives", "causal; mlm"],
        "finetune": [run, "--train", train, "--out", out],
        "predict": [run, train, "--out", out],
        "evaluate": [run, train],
        "prompt": [run, train, *asked],
        "pet": [run, "--train", train, "--unlabelled", train, "--out", out, *asked],
        "judge": [run, "--prompts", prompts],
        "probe": [run, "--held-out", shards],
        "probe-layers": [run, "--task", "classify", "--train", train, "--test", train],
        "contextuality": [run, "--texts", texts],
        "attention": [run, "the boat", "--out", out],
    }


def test_every_command_that_computes_has_it(words: dict[str, list[object]]) -> None:
    assert set(COMMANDS) == set(words)


@pytest.mark.parametrize(("device", "error"), [("cuda:99", MachineError), ("toaster", UsageError)])
@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_not_there_is_refused(
    name: str, device: str, error: type[Exception], words: dict[str, list[object]], invoke: Invoke, tmp_path: Path
) -> None:
    with pytest.raises(error, match=rf"device.*'{device}'"):
        invoke(name, *words[name], "--device", device)
    assert not (tmp_path / "out").exists()


def test_a_model_computes_where_it_is_told_to(words: dict[str, list[object]], invoke: Invoke) -> None:
    for name in ("score", "embed"):
        assert invoke(name, *words[name], "--device", "cpu").output == invoke(name, *words[name]).output


def test_beside_a_gpu_the_processor_is_taken_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("BOTHWAYS_BF16", raising=False)
    with processes(device="cpu") as team:
        assert team.device == torch.device("cpu")
    assert machine.precision_for(device=torch.device("cpu"), root=tmp_path) == "fp32"  # a processor without bf16
    assert machine.precision_for(device=torch.device("cuda"), root=tmp_path) == "bf16"


def test_several_processes_share_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bothways.training.processes.device_of", torch.device)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="expected device 'cuda', got 'cuda:1'"), processes(device="cuda:1"):
        pass
