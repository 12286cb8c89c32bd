"""A run's folder: what is written is whole, what is broken is named."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from bothways.errors import MachineError, ModelError, UsageError
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.run_folder import RunFolder
from bothways.training.state import checkpoints, read_record
from tests.training.pretraining.small import configuration
from tests.training.small import settings, small_model, state_of


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.create(configuration(tmp_path / "shards", tmp_path / "run"))
    return made


def test_the_configuration_comes_back(folder: RunFolder) -> None:
    assert folder.config(PretrainConfig) == configuration(folder.path.parent / "shards", folder.path)


def test_what_is_not_finite_is_null(folder: RunFolder) -> None:
    """JSON has no name for it; readers in other languages would choke."""
    folder.append({"kind": "train", "step": 1, "loss": math.nan, "losses": {"causal": math.inf, "mlm": 2.5}})
    text = (folder.path / "metrics.jsonl").read_text()

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    assert json.loads(text, parse_constant=refuse) == {
        "kind": "train",
        "step": 1,
        "loss": None,
        "losses": {"causal": None, "mlm": 2.5},
    }


def test_a_last_line_that_is_cut_is_left_out(folder: RunFolder) -> None:
    for step in (1, 2, 3):
        folder.append({"kind": "train", "step": step})
    with open(folder.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')
    assert [line["step"] for line in folder.lines()] == [1, 2, 3]
    folder.cut(2)
    assert (folder.path / "metrics.jsonl").read_text() == '{"kind": "train", "step": 1}\n{"kind": "train", "step": 2}\n'


def test_a_broken_line_is_named(folder: RunFolder) -> None:
    (folder.path / "metrics.jsonl").write_text('{"kind": "train", "step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ModelError, match=r"metrics\.jsonl, line 2: expected JSON"):
        folder.lines()


@pytest.mark.parametrize(
    "line", ["[]", "{}", '{"kind": "train"}', '{"kind": 5, "step": 1}', '{"kind": "a", "step": "1"}']
)
def test_a_line_that_is_none_of_ours_is_named(folder: RunFolder, line: str) -> None:
    (folder.path / "metrics.jsonl").write_text(f'{{"kind": "train", "step": 1}}\n{line}\n')
    with pytest.raises(ModelError, match=r"metrics\.jsonl, line 2: expected a"):
        folder.lines()


def test_what_is_not_noted_is_named(folder: RunFolder) -> None:
    (folder.path / "metrics.jsonl").write_text('{"kind": "train", "step": 1}\n')
    (folder.path / "manifest.json").write_text("{}")
    assert folder.last()["step"] == folder.last("train", step=1)["step"] == 1
    for asking in (lambda: folder.last("validation"), lambda: folder.last(step=2), lambda: folder.noted("status")):
        with pytest.raises(ModelError, match=r"(metrics\.jsonl|manifest\.json): expected"):
            asking()


def test_cutting_forgets_checkpoints_too(folder: RunFolder) -> None:
    for name in ("step-2", "step-4", "step-10", ".step-11.partial"):
        (folder.checkpoints / name).mkdir()
    folder.cut(4)
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["step-2", "step-4"]


def test_pruning_keeps_the_last_two_and_those_that_are_named(folder: RunFolder) -> None:
    for step in (1, 2, 9, 10, 11):
        (folder.checkpoints / f"step-{step}").mkdir()
    folder.prune({2, 7})
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["step-10", "step-11", "step-2"]


def test_a_kill_while_deleting_leaves_no_half_checkpoint(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (8, 9, 10):
        (folder.checkpoints / f"step-{step}").mkdir()
        (folder.checkpoints / f"step-{step}" / "state.json").touch()
    real = shutil.rmtree

    def killed(path: Path, ignore_errors: bool = False) -> None:
        if path.exists():
            (path / "state.json").unlink()
            raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.prune(set())
    monkeypatch.setattr("shutil.rmtree", real)
    assert [path.name for path in checkpoints(folder.checkpoints)] == ["step-9", "step-10"]
    folder.cut(10)
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["step-10", "step-9"]


def test_notes_are_added(folder: RunFolder) -> None:
    folder.note(status="running", steps=3)
    folder.note(status="done")
    assert folder.manifest().items() >= {"status": "done", "steps": 3}.items()
    (folder.path / "manifest.json").write_text("{")
    with pytest.raises(ModelError, match=r"manifest\.json"):
        folder.manifest()


def test_a_broken_configuration_is_named(folder: RunFolder) -> None:
    (folder.path / "config.yaml").write_text("shards: [")
    with pytest.raises(UsageError, match=r"config\.yaml"):
        folder.config(PretrainConfig)


def test_another_process_writes_nothing(folder: RunFolder) -> None:
    (folder.checkpoints / "step-9").mkdir()
    before = sorted(folder.path.rglob("*"))
    other = RunFolder(folder.path, writes=False)
    other.create(folder.config(PretrainConfig))
    other.append({"kind": "train", "step": 1})
    other.note(status="done")
    other.cut(0)
    other.prune(set())
    assert sorted(folder.path.rglob("*")) == before


def test_a_place_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot be written: Not a directory. A file stands where"):
        RunFolder(tmp_path / "file" / "run").create(configuration(tmp_path, tmp_path))


def test_metrics_are_what_they_were_when_the_checkpoint_was_written(folder: RunFolder) -> None:
    """Up to that line, to the bit; what came after it is forgotten, whatever it is."""
    state = state_of(small_model(), settings().optimiser)
    folder.append({"step": 1, "loss": 1.5})
    folder.save(state)
    told, path = state.notes["metrics"], folder.path / "metrics.jsonl"
    whole = path.read_bytes()
    assert read_record(folder.checkpoints / "step-0")["notes"]["metrics"] == told
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(ModelError, match=r"metrics\.jsonl does not match its hash in .*step-0/state\.json"):
            folder.cut(0, told)
    path.write_bytes(whole + b'{"step": 1, "lo\xff')
    folder.cut(0, told)
    assert path.read_bytes() == whole and folder.manifest()["status"] == "running"
    path.unlink()
    with pytest.raises(ModelError, match=r"metrics\.jsonl does not match"):
        folder.cut(0, told)


def test_metrics_of_a_run_that_has_ended_are_what_they_were(folder: RunFolder) -> None:
    folder.append({"kind": "train", "step": 1})
    folder.note(status="done")
    assert folder.lines() == [{"kind": "train", "step": 1}]
    path = folder.path / "metrics.jsonl"
    path.write_text(path.read_text().replace("1", "3"))
    with pytest.raises(ModelError, match=r"metrics\.jsonl does not match its hash in .*manifest\.json"):
        folder.lines()


def test_lines_are_on_the_disk_before_their_hash(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut may take what is only in memory: a hash of lines that are lost would refuse the whole run."""
    done: list[str] = []
    monkeypatch.setattr("bothways.training.run_folder.sync", lambda path: done.append("lines"))
    for name in ("write_sealed", "save_state"):
        monkeypatch.setattr(f"bothways.training.run_folder.{name}", lambda *_, **__: done.append("hash"))
    folder.append({"kind": "train", "step": 1})
    folder.note(status="running")
    assert done == ["hash"]  # of the manifest alone
    folder.note(status="done")
    folder.save(state_of(small_model(), settings().optimiser))
    assert done == ["hash", "lines", "hash", "lines", "hash"]
