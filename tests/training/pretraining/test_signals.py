"""Signals to a process of its own: it saves, says how to go on, and leaves with the right code."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from bothways.training.pretraining import PretrainConfig, pretrain
from bothways.training.run_folder import RunFolder
from tests.training.pretraining.small import assert_same_run, configuration, finish, job, start


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


def test_kill_minus_9_at_once(shards: Path, tmp_path: Path, quick: None) -> None:
    """Nothing is put in order; the rest is proofs/kill.py's, which does it again and again."""
    whole, killed = (configuration(shards, tmp_path / name) for name in ("whole", "killed"))
    process = started(killed, tmp_path, step=7)
    process.kill()
    finish([process], expect=-signal.SIGKILL)
    pretrain(killed, resume=True)
    pretrain(whole)
    assert_same_run(killed.out, whole.out)
