"""Signals to a process of its own: it saves, says how to go on, and leaves with the right code."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from bothways.pretraining import PretrainConfig, pretrain
from bothways.pretraining.folder import RunFolder
from tests.pretraining.small import assert_same_run, configuration, finish, job, start


def wait_for_step(config: PretrainConfig, step: int) -> None:
    """Looks at the run's metrics until they reach a step."""
    until = time.monotonic() + 200
    while not any(line["step"] >= step for line in RunFolder(config.out).lines()):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_run_goes_on_exactly(
    number: int, code: int, shards: Path, tmp_path: Path, quick: None
) -> None:
    whole, told = (configuration(shards, tmp_path / name, "training.budget.steps=60") for name in ("whole", "told"))
    (process,) = start([job(told)], tmp_path)
    wait_for_step(told, 2)
    process.send_signal(number)
    sent = time.monotonic()
    (said,) = finish([process], expect=code)
    assert time.monotonic() - sent < 30
    step = RunFolder(told.out).lines()[-1]["step"]
    assert 2 <= step < 60
    assert f"stopped after step {step} and saved. Go on with: bothways pretrain --resume --out {told.out}" in said
    assert "Traceback" not in said
    assert RunFolder(told.out).manifest()["status"] == "stopped"
    pretrain(told, resume=True)
    pretrain(whole)
    assert_same_run(told.out, whole.out)


def test_kill_minus_9_at_once(shards: Path, tmp_path: Path, quick: None) -> None:
    """Nothing is put in order; the rest is proofs/kill.py's, which does it again and again."""
    whole, killed = (configuration(shards, tmp_path / name, "training.budget.steps=30") for name in ("whole", "killed"))
    (process,) = start([job(killed)], tmp_path)
    wait_for_step(killed, 7)
    process.kill()
    finish([process], expect=-signal.SIGKILL)
    pretrain(killed, resume=True)
    pretrain(whole)
    assert_same_run(killed.out, whole.out)
