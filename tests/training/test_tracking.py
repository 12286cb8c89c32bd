"""What a tracker is sent is what metrics.jsonl holds, read back from its own files."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from bothways.cli.options import Track
from bothways.errors import MachineError, Stopped, UsageError
from bothways.training.finetuning import FinetuneConfig, finetune_seeds
from bothways.training.pretraining import pretrain
from bothways.training.run_folder import RunFolder
from bothways.training.tracking import TRACKERS, figures, tracked
from tests.inference.made import make_run
from tests.tasks.conftest import reviews, write
from tests.training.pretraining.small import configuration, make_shards, stopping


def wanted(folder: Path) -> dict[str, dict[int, float]]:
    """{figure: {step: value}} of metrics.jsonl."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for line in RunFolder(folder).lines():
        for name, value in figures(line).items():
            found[name][line["step"]] = pytest.approx(value, rel=1e-6)
    return found


def in_tensorboard(folder: Path) -> dict[str, dict[int, float]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulator.EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {name: {one.step: one.value for one in read.Scalars(name)} for name in read.Tags()["scalars"]}


def test_tensorboard_has_a_run_that_was_stopped_and_went_on(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra bothways[tensorboard]")
    config = configuration(make_shards(tmp_path, documents=120), tmp_path / "run")
    with pytest.raises(Stopped):
        pretrain(config, track="tensorboard", show=stopping(7))
    pretrain(config, resume=True, track="tensorboard")
    assert in_tensorboard(config.out) == wanted(config.out)
    assert {"train/loss", "train/losses/causal", "validation/bits_per_byte/causal"} <= wanted(config.out).keys()


def test_every_seed_of_a_fine_tuning_has_its_own(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra bothways[tensorboard]")
    train = write(tmp_path / "train.jsonl", *reviews(4))
    body = make_run(tmp_path / "body", kind="wordpiece")
    config = FinetuneConfig(model=str(body), train=train, test=train, out=tmp_path / "out", epochs=1)
    finetune_seeds(config, 2, track="tensorboard")
    for run in (config.out / "seed-0", config.out / "seed-1"):
        assert in_tensorboard(run) == wanted(run)
        assert "test/scores/accuracy" in wanted(run)


TRACKIO = """
import json, sys
from pathlib import Path
from bothways.training.tracking import tracked

for resume, steps in ((False, (1, 2)), (True, (3,))):
    with tracked("trackio", Path("mine"), {"size": "tiny"}, show=print, resume=resume) as show:
        for step in steps:
            show({"kind": "train", "step": step, "loss": 1 / step})
from trackio.sqlite_storage import SQLiteStorage

print(json.dumps([[one["step"], one["train/loss"]] for one in SQLiteStorage.get_logs("bothways", "mine")]))
"""


def test_trackio(tmp_path: Path) -> None:
    """In a process of its own: where it keeps its runs is read when it is imported."""
    pytest.importorskip("trackio", reason="needs the extra bothways[trackio]")
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "kept"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", TRACKIO]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *shown, kept = done.stdout.splitlines()
    assert len(shown) == 3  # what trackio says is on standard error
    assert json.loads(kept) == [[step, 1 / step] for step in (1, 2, 3)]


@pytest.mark.parametrize("name", TRACKERS)
def test_without_its_package_a_run_does_not_begin(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def missing(module: str, *rest: Any) -> Any:
        if module.split(".")[0] == name or module == "torch.utils.tensorboard":
            raise ImportError(name)
        return whole(module, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    config = FinetuneConfig(model="none", train=tmp_path / "none.jsonl", out=tmp_path / "out")
    with pytest.raises(MachineError, match=rf"pip install 'bothways\[{name}\]'"):
        finetune_seeds(config, 2, track=name)
    assert not config.out.exists()


def test_names_and_figures(tmp_path: Path) -> None:
    wrong = tracked("tensorbord", tmp_path, {}, show=print, resume=False)
    with pytest.raises(UsageError, match="unknown tracker 'tensorbord'. Did you mean 'tensorboard'"), wrong:
        pass
    assert str(Track).count("Literal") == 1 and all(repr(name) in str(Track) for name in TRACKERS)
    line = {"kind": "train", "step": 3, "progress": 0.5, "loss": 2, "losses": {"mlm": 2.5}, "share": None}
    assert figures(line) == {"train/loss": 2.0, "train/losses/mlm": 2.5}
