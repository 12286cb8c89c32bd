"""Signals: raised at once, remembered where nothing may be torn, and never lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from bothways import stopping
from bothways.errors import Stopped
from bothways.stopping import Signalled, came, exposed, heeded, is_shielded, shielded
from bothways.training.fit import stoppable


def tell(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code", "name"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")])
def test_it_is_raised_at_once(number: int, code: int, name: str) -> None:
    with pytest.raises(Signalled, match=f"stopped by {name}") as signalled, heeded():
        tell(number)
        pytest.fail("it went on")
    assert signalled.value.exit_code == code
    assert not isinstance(signalled.value, Exception)  # who catches errors does not catch it


def test_others_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with heeded():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_is_shielded_is_done_first() -> None:
    done = []
    with pytest.raises(Signalled), heeded(), shielded():
        with shielded():
            tell()
            done.append(came())
        done.append("outer")
    assert done == [signal.SIGTERM, "outer"]


def test_what_is_exposed_inside_is_left_off() -> None:
    done = []
    with pytest.raises(Signalled), heeded(), shielded():
        with pytest.raises(Signalled), exposed():
            tell()
            pytest.fail("it went on")
        with pytest.raises(Signalled), exposed():
            pytest.fail("it began, though a signal had come")
        done.append("rest")
    assert done == ["rest"]


def test_a_second_one_does_not_tear_what_cleans_up() -> None:
    done = []
    with pytest.raises(Signalled), heeded():
        try:
            tell()
        finally:
            tell(signal.SIGINT)
            done.append("cleaned")
    assert done == ["cleaned"]


def test_each_time_begins_anew() -> None:
    for _ in range(2):
        with pytest.raises(Signalled), heeded():
            tell()
    with heeded():
        assert came() == 0


def test_what_came_to_an_earlier_call_does_not_stop_one_in_a_thread() -> None:
    with pytest.raises(Signalled), heeded():
        tell()

    def asked() -> int:
        with heeded():
            return came()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(asked).result() == 0


def test_what_came_to_an_earlier_call_does_not_stop_what_is_saved_later() -> None:
    with pytest.raises(Signalled), heeded():
        tell()
    assert came() == 0
    with shielded():
        done = True
    assert done


def test_another_process_that_leaves_first_is_a_stop_too(tmp_path: Path) -> None:
    """What a process that was told says of one that is gone follows from the signal."""
    with pytest.raises(Stopped, match="stopped by SIGTERM; nothing is written yet"), stoppable(tmp_path, "again"):
        with suppress(Signalled):
            tell()
        raise RuntimeError("Connection closed by peer")
    with pytest.raises(RuntimeError, match="our own"), stoppable(tmp_path, "again"):
        raise RuntimeError("our own")


def test_another_thread_shields_nothing() -> None:
    """What it does there keeps no signal from the main one."""
    entered, leave = threading.Event(), threading.Event()

    def shield() -> None:
        with shielded():
            entered.set()
            leave.wait()

    with ThreadPoolExecutor(1) as pool, pytest.raises(Signalled), heeded():
        try:
            pool.submit(shield)
            entered.wait()
            tell()
            pytest.fail("it went on")
        finally:
            leave.set()


def test_another_thread_exposes_nothing() -> None:
    """What the main one shields stays so, whatever is exposed elsewhere."""

    def expose() -> bool:
        with exposed():
            return is_shielded() or stopping._Now.shielded is False

    with shielded(), ThreadPoolExecutor(1) as pool:
        assert not pool.submit(expose).result()


def test_a_handler_that_python_cannot_put_back_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a program in C around Python, of which the module knows None."""
    set_to: list[object] = []
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    monkeypatch.setattr(signal, "signal", lambda number, handler: set_to.append(handler))
    with heeded():
        pass
    assert set_to == []


DEAF = """
import os, signal, sys, time
from bothways import stopping
stopping.PATIENCE = 0.2
stopping.heed_always()
open("ready", "w").close()
with stopping.shielded():
    time.sleep(60)
"""


def test_what_does_not_end_in_time_is_left_off(tmp_path: Path) -> None:
    """The handler runs and remembers; nothing looks. What computes outside of Python does not even hear it."""
    process = subprocess.Popen([sys.executable, "-c", DEAF], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert said.startswith("bothways: stopped by SIGTERM; what was going on did not end within")


TOLD = """
import os, signal
import bothways.cli
from bothways import stopping
stopping.heed_always()
bothways.cli.Commands.get_command = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
bothways.cli.main()
"""


def test_a_command_without_a_run_says_so_in_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD, "predict"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (143, "")
    assert done.stderr == "bothways: stopped by SIGTERM; nothing half-written is left\n"


def test_the_command_line_waits_less_than_half_a_minute() -> None:
    from bothways.cli.launch import GRACE_TO_SAVE

    assert stopping.PATIENCE < GRACE_TO_SAVE < 30
