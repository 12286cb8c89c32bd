"""One command as several processes on this machine: torchrun's part, with the command's own messages and exit code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO

import typer

from bothways.cli.watching import Watch
from bothways.errors import MachineError
from bothways.machine import cores, leave_with_parent
from bothways.stopping import Signalled, handled
from bothways.terminal import say

ENDED_BY_SIGNAL = (128 + signal.SIGINT, 128 + signal.SIGTERM)
BUG = 1  # ... or what a process says that has lost another
GRACE = 5.0  # seconds that the others have to end once one has failed
GRACE_TO_SAVE = 25.0  # ... once they have been told to stop, and save; each leaves by itself before (stopping.PATIENCE)
Again = Callable[[], list[str]]


def as_processes(processes: int, *, restarts: int = 0, again: Again = lambda: sys.argv[1:]) -> None:
    """Runs this very command as several processes and leaves with its exit code; one of these goes on instead.

    Args:
        restarts: how often they are begun again where one was killed, hangs or crashed.
        again: gives the words of the command that goes on with the run then.

    Raises:
        Exit: they have ended.
        MachineError: one of them was killed from outside, or hangs.
    """
    if (processes == 1 and not restarts) or "RANK" in os.environ:
        return
    words = sys.argv[1:]
    for left in range(restarts, -1, -1):
        why = f"{processes} processes crashed"
        try:
            code = launch([sys.executable, "-m", "bothways", *words], processes=processes)
            if code != BUG or not left:
                raise typer.Exit(code)
        except MachineError as error:
            if not left:
                raise
            why = str(error).partition(". ")[0]
        say(f"{why}. Restart {restarts - left + 1} of {restarts}, from the last checkpoint", error=True)
        words = again()


def leads() -> bool:
    """Whether this is the process that speaks."""
    return os.environ.get("RANK", "0") == "0"


def launch(command: Sequence[str], *, processes: int) -> int:
    """Runs a command `processes` times at once, each told its rank as torchrun would; returns the exit code.

    Signals are passed on, so that every process saves and leaves; one that does not in time is killed. If one fails the
    others are stopped; what is shown on standard error is what the first to fail said, or else the first process. One
    that fails since another is gone may be faster to say so: code 1 counts only where none has another, and then all
    that failed are heard.

    Raises:
        MachineError: a process was killed from outside, or hangs.
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
        flock = _Flock(children, said)
        with handled(flock.stop):
            try:
                flock.wait()
            finally:  # before signals go elsewhere again
                flock.tell(signal.SIGKILL)
                for child in children:
                    child.wait()
        return flock.end()


@dataclass(slots=True)
class _Flock:
    """Processes that end together.

    told    the number of the signal that all were told by, or 0
    failed  {number: code} of those that failed, as they did
    hangs   {number: why} of those that hang
    """

    children: Sequence[subprocess.Popen[bytes]]
    said: Sequence[IO[str]]
    told: int = 0
    failed: dict[int, int] = field(default_factory=dict)
    hangs: dict[int, str] = field(default_factory=dict)

    def tell(self, number: int) -> None:
        """Sends a signal to all that are left."""
        for child in self.children:
            if child.poll() is None:
                child.send_signal(number)

    def stop(self, number: int, _: object = None) -> None:
        """Has all of them save and leave."""
        self.told = self.told or number
        self.tell(number)

    def wait(self) -> None:
        """Until all have ended, or one hangs, or long enough after one has failed or all were told to stop."""
        watch = Watch([child.pid for child in self.children], self.said)
        deadline = float("inf")
        while time.monotonic() < deadline and not self.hangs:
            codes = [child.poll() for child in self.children]
            self.failed |= {i: code for i, code in enumerate(codes) if code and i not in self.failed}
            if None not in codes:
                return
            if not self.told and (code := next((one for one in self.failed.values() if one in ENDED_BY_SIGNAL), 0)):
                self.stop(code - 128)  # one was told by itself
            if self.told or self.failed:
                deadline = min(deadline, time.monotonic() + (GRACE_TO_SAVE if self.told else GRACE))
                for i in watch.stopped(since=3) if self.told else ():
                    self.children[i].kill()  # it cannot save, and the others wait for it
            else:
                self.hangs = watch.hanging()
            time.sleep(0.05)

    def end(self) -> int:
        """Says what the first to fail said; the exit code.

        Raises:
            MachineError: a process was killed from outside, or hangs.
        """
        count, failed = len(self.children), self.failed
        late = [i for i, child in enumerate(self.children) if child.returncode == -signal.SIGKILL]
        if self.told and (failed or late):
            self._speak([i for i, code in failed.items() if code in ENDED_BY_SIGNAL][:1] or failed)
            if names := ", ".join(f"process {i + 1} of {count}" for i in late):
                say(f"bothways: {Signalled(self.told)}; killed, since it did not end in time: {names}", error=True)
            return 128 + self.told
        if self.hangs:
            named = "; ".join(f"process {i + 1} of {count} {why}" for i, why in self.hangs.items())
            raise MachineError(f"{named}, and hangs. A run goes on from its last checkpoint with --resume.")
        first, code = next(((i, code) for i, code in failed.items() if code != BUG), (0, BUG if failed else 0))
        self._speak(failed if code == BUG else (first,))
        if code < 0:
            raise MachineError(
                f"process {first + 1} of {count} was killed by {signal.Signals(-code).name}, perhaps because memory "
                "ran out. A run goes on from its last checkpoint with --resume."
            )
        return code

    def _speak(self, numbers: Iterable[int]) -> None:
        """Shows what some of them said, the same words once."""
        texts = []
        for i in numbers:
            self.said[i].seek(0)
            texts.append(self.said[i].read())
        sys.stderr.write("".join(dict.fromkeys(texts)))
