"""Signals to a process of its own: it saves, says how to go on, and leaves with the right code."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from bothways.errors import Stopped
from bothways.training.pretraining import PretrainConfig, pretrain, run
from bothways.training.run_folder import RunFolder
from bothways.training.state import checkpoints
from tests.training.pretraining.small import assert_same_run, configuration, finish, job, run_until, start


def started(config: PretrainConfig, folder: Path, *, step: int) -> subprocess.Popen[str]:
    """The run in a process of its own, which has done so many steps and waits for a signal."""
    (process,) = start([job(config, wait=step)], folder)
    while not any(line["step"] >= step for line in RunFolder(config.out).lines()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_run_goes_on_exactly(
    number: int, code: int, shards: Path, tmp_path: Path, quick: None
) -> None:
    whole, told = (configuration(shards, tmp_path / name) for name in ("whole", "told"))
    process = started(told, tmp_path, step=4)
    process.send_signal(number)
    (said,) = finish([process], expect=code)
    step = RunFolder(told.out).lines()[-1]["step"]
    assert step == 4  # the one that was begun is left out
    assert f"stopped after step {step} and saved. Go on with: bothways pretrain --resume --out {told.out}" in said
    assert "Traceback" not in said
    assert RunFolder(told.out).manifest()["status"] == "stopped"
    pretrain(told, resume=True)
    pretrain(whole)
    assert_same_run(told.out, whole.out)


def test_a_validation_that_a_signal_ends_is_done_again(shards: Path, tmp_path: Path, quick: None) -> None:
    """Also where the run is killed once more before it could save: the line is there once."""
    whole, told = (configuration(shards, tmp_path / name) for name in ("whole", "told"))
    run_until(told, 6)

    def validated() -> list[int]:
        return [line["step"] for line in RunFolder(told.out).lines() if line["kind"] == "validation"]

    assert validated() == [0, 3]

    def die(line: dict[str, Any]) -> None:
        assert line["step"] < 7, "killed"

    with pytest.raises(AssertionError, match="killed"):
        pretrain(told, resume=True, show=die)
    assert validated() == [0, 3, 6]
    pretrain(told, resume=True)
    pretrain(whole)
    assert_same_run(told.out, whole.out)


def test_a_signal_while_it_is_set_up_or_saved_says_how_to_go_on(
    shards: Path, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, told = (configuration(shards, tmp_path / name) for name in ("whole", "told"))

    def tell(_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    for place, saved in (("set_up", False), ("begin", False), ("finish", True)):
        with monkeypatch.context() as patch, pytest.raises(Stopped) as stopped:
            patch.setattr(run, place, lambda *_, **__: tell(_))
            pretrain(told, resume=(told.out / "config.yaml").is_file())
        assert stopped.value.exit_code == 143
        how = f"what was learned is saved. Go on with: bothways pretrain --resume --out {told.out}"
        how = "nothing is written yet" if place == "set_up" else how
        assert str(stopped.value) == f"stopped by SIGTERM; {how}"
        assert bool(checkpoints(told.out / "checkpoints")) == saved
    pretrain(told, resume=True)
    pretrain(whole)
    assert_same_run(told.out, whole.out)


def test_kill_minus_9_at_once(shards: Path, tmp_path: Path, quick: None) -> None:
    """Nothing is put in order; the rest is proofs/kill.py's, which does it again and again."""
    whole, killed = (configuration(shards, tmp_path / name) for name in ("whole", "killed"))
    process = started(killed, tmp_path, step=7)
    process.kill()
    finish([process], expect=-signal.SIGKILL)
    pretrain(killed, resume=True)
    pretrain(whole)
    assert_same_run(killed.out, whole.out)
