"""One command as several processes on this machine: torchrun's part, with the command's own messages and exit code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import IO

import typer

from bothways.errors import MachineError
from bothways.machine import cores, leave_with_parent

ENDED_BY_SIGNAL = (128 + signal.SIGINT, 128 + signal.SIGTERM)
BUG = 1  # ... or what a process says that has lost another
GRACE = 5.0  # seconds that the others have to end once one has failed
GRACE_TO_SAVE = 120.0  # ... once one has been told to stop, and saves


def as_processes(processes: int) -> None:
    """Runs this very command as several processes and leaves with its exit code; one of these goes on instead.

    Raises:
        Exit: they have ended.
        MachineError: one of them was killed from outside.
    """
    if processes > 1 and "RANK" not in os.environ:
        raise typer.Exit(launch([sys.executable, "-m", "bothways", *sys.argv[1:]], processes=processes))


def leads() -> bool:
    """Whether this is the process that speaks."""
    return os.environ.get("RANK", "0") == "0"


def launch(command: Sequence[str], *, processes: int) -> int:
    """Runs a command `processes` times at once, each told its rank as torchrun would; returns the exit code.

    Signals are passed on, so that every process saves and leaves. If one fails the others are stopped; what is shown
    on standard error is what the first to fail said, or else the first process. One that fails since another is gone
    may be faster to say so: code 1 counts only where none has another, and then all that failed are heard.

    Raises:
        MachineError: a process was killed from outside.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    threads = {"OMP_NUM_THREADS": str(max(1, cores() // processes))}
    shared = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    with ExitStack() as open_files:
        said = [open_files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(processes)]
        children = [
            subprocess.Popen(
                command,
                env={
                    **threads,
                    **os.environ,
                    **{k: str(v) for k, v in (shared | {"RANK": i, "LOCAL_RANK": i}).items()},
                },
                stderr=stderr,
                preexec_fn=leave_with_parent,
            )
            for i, stderr in enumerate(said)
        ]
        before = {n: signal.signal(n, lambda n, _: _tell(children, n)) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            failed = _wait(children)
        finally:
            _tell(children, signal.SIGKILL)
            for number, handler in before.items():
                signal.signal(number, handler)
        return _end(failed, said)


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> dict[int, int]:
    """Until all have ended, or long enough after one has failed: {number: code} of those that failed, as they did."""
    failed: dict[int, int] = {}
    deadline = float("inf")
    while True:
        codes = [child.poll() for child in children]
        new = {i: code for i, code in enumerate(codes) if code and i not in failed}
        if new and not failed:
            saves = any(code in ENDED_BY_SIGNAL for code in new.values())
            deadline = time.monotonic() + (GRACE_TO_SAVE if saves else GRACE)
        failed |= new
        if None not in codes or time.monotonic() > deadline:
            return failed
        time.sleep(0.05)


def _end(failed: dict[int, int], said: Sequence[IO[str]]) -> int:
    first, code = next(((i, code) for i, code in failed.items() if code != BUG), (0, BUG if failed else 0))
    texts = []
    for i in failed if code == BUG else (first,):
        said[i].seek(0)
        texts.append(said[i].read())
    sys.stderr.write("".join(dict.fromkeys(texts)))
    if code < 0:
        raise MachineError(
            f"process {first + 1} of {len(said)} was killed by {signal.Signals(-code).name}, perhaps because memory "
            "ran out. A run goes on from its last checkpoint with --resume."
        )
    return code


def _tell(children: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for child in children:
        if child.poll() is None:
            child.send_signal(number)
