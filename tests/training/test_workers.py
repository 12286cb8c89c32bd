"""The processes of a comparison: none is left behind, however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bothways.errors import Stopped
from bothways.training.workers import Workers

# The worker is the command line itself, in the middle of work that a signal ends.
SLEEPING = """
import os, time
from bothways.stopping import heed_always
heed_always()
open("worker", "w").write(str(os.getpid()))
time.sleep(1000)
"""
COMPARING = """
from bothways.training.workers import Workers
workers = Workers(1, lambda label, progress: None)
workers.each(lambda label: workers.run("sleeping", [], label), ["one"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_a_killed_comparison_leaves_no_worker_behind(tmp_path: Path) -> None:
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    comparison = subprocess.Popen([sys.executable, "-c", COMPARING], cwd=tmp_path)
    place, deadline = tmp_path / "worker", time.monotonic() + 120
    while not (place.exists() and place.read_text()):
        assert time.monotonic() < deadline and comparison.poll() is None
        time.sleep(0.02)
    worker = Path("/proc", place.read_text(), "stat")
    comparison.kill()
    comparison.wait()
    while worker.exists() and worker.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "the worker goes on"
        time.sleep(0.02)


def test_a_signal_that_comes_while_a_run_is_started_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its start and its place among the runs that are told of signals."""
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    workers, start = Workers(1, lambda label, progress: None), subprocess.Popen

    def started(*args: Any, **options: Any) -> Any:
        child = start(*args, **options, cwd=tmp_path)
        while not ((place := tmp_path / "worker").exists() and place.read_text()):
            time.sleep(0.02)
        workers._end(signal.SIGTERM)  # it is in no list yet
        return child

    monkeypatch.setattr("bothways.training.workers.subprocess.Popen", started)
    with pytest.raises(Stopped):
        workers.run("sleeping", [], "one")
