"""Of two that write in one place the second is refused, and what a killed one held is taken over."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from bothways.claims import claimed
from bothways.errors import MachineError, UsageError

Kind = Literal["folder", "file"]
HOLDING = """
import subprocess, sys
from pathlib import Path
from bothways.claims import claimed
with claimed(Path(sys.argv[1]), kind=sys.argv[2]):
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    print(child.pid, flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(out: Path, kind: Kind) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that has claimed `out`, and a child of it, which inherits what is handed on."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(out), kind], **pipes) as process:  # type: ignore[call-overload]
        child = int(process.stdout.readline())
        try:
            yield process, child
        finally:
            process.kill()
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_the_second_is_refused_by_name_and_a_dead_one_followed(kind: Kind, tmp_path: Path) -> None:
    out = tmp_path / "made" / "out"
    with holder(out, kind) as (process, child):
        told = f"^{re.escape(str(out))} is being written by process {process.pid} on .+ since 20.+Wait until"
        with pytest.raises(UsageError, match=told), claimed(out, kind=kind):
            pass
        process.kill()
        process.wait()
        os.kill(child, 0)  # what it started lives on, and does not hold it
        with claimed(out, kind=kind):
            (tmp_path / "made" / "kept").touch()
    assert [path.name for path in (tmp_path / "made").rglob("*") if not path.is_dir()] == ["kept"]


def test_another_is_waited_for(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as other:
        claim = claimed(tmp_path)
        other.submit(claim.__enter__).result()
        other.submit(time.sleep, 0.2)
        other.submit(claim.__exit__, None, None, None)
        with claimed(tmp_path, patience=60):
            pass


def test_a_run_within_a_run_goes_on_but_another_thread_does_not(tmp_path: Path) -> None:
    def take() -> None:
        with claimed(tmp_path):
            pass

    with claimed(tmp_path), claimed(tmp_path / "."), claimed(tmp_path / "seed-0"):
        take()
        with ThreadPoolExecutor(1) as pool, pytest.raises(UsageError, match=f"process {os.getpid()} on"):
            pool.submit(take).result()
    take()
    assert list(tmp_path.iterdir()) == []


def test_all_but_the_first_process_claim_nothing(tmp_path: Path) -> None:
    with claimed(tmp_path / "run", writes=False):
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_came_to_nothing_leaves_no_folder(kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path / "a" / "b", kind=kind):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "own").mkdir()
    with claimed(tmp_path / "own" / "b", kind=kind):
        pass
    assert (tmp_path / "own").is_dir()  # it was there before


def test_what_stands_there_is_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="expected a folder to write, got a file"), claimed(tmp_path / "file"):
        pass
    with pytest.raises(UsageError, match="expected a file to write, got a folder"), claimed(tmp_path, kind="file"):
        pass
    for folder in (".", "/", ".."):
        with pytest.raises(UsageError, match=f"^{re.escape(folder)}: expected a file to write, got a folder"):
            claimed(Path(folder), kind="file").__enter__()
    with pytest.raises(UsageError, match="expected a file to write, got a device"):
        claimed(Path("/dev/null"), kind="file").__enter__()
    with pytest.raises(MachineError, match="Not a directory"), claimed(tmp_path / "file" / "run"):
        pass


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_where_nothing_can_be_written(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, whom permissions do not stop, the system's answer is a made one."""

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write" if number == errno.ENOSPC else "open", refused)
    with pytest.raises(MachineError, match=f"cannot be written: {os.strerror(number)}"), claimed(tmp_path / "run"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_another_user_left_is_taken_over_and_what_he_holds_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of several users: the lock's file can be read and locked, but not be written to."""
    real, lock = os.open, tmp_path / ".claimed"
    lock.write_text("process 1 on there")

    def refused(path: str | Path, flags: int, *more: int) -> int:
        if path == lock and flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", refused)
    with monkeypatch.context() as nfs:  # which locks nothing that was opened to be read

        def bad(*_: object) -> None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

        nfs.setattr(fcntl, "flock", bad)
        with pytest.raises(UsageError, match=r"delete .*\.claimed"), claimed(tmp_path):
            pass
    with claimed(tmp_path):
        assert lock.read_text() == "process 1 on there"
        with ThreadPoolExecutor(1) as pool, pytest.raises(UsageError, match="is being written by process 1 on there"):
            pool.submit(claimed(tmp_path).__enter__).result()
    assert not lock.exists()
    lock.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(MachineError, match="cannot be written: Permission denied"), claimed(tmp_path):
        pass


def test_without_locks_nobody_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with claimed(tmp_path):
        pass


def test_the_one_before_leaves_in_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock that was opened is that of a file which is no longer there: another could make it anew."""
    real, left = fcntl.flock, [tmp_path / ".claimed"]

    def late(handle: int, how: int) -> None:
        if left:
            left.pop().unlink()
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with claimed(tmp_path), ThreadPoolExecutor(1) as pool, pytest.raises(UsageError, match="is being written by"):
        pool.submit(claimed(tmp_path).__enter__).result()
