"""Which of several processes hangs: one that was stopped, or that does nothing while the others wait for it.

Read from /proc, so that the processes need not take part; where there is none, nothing is ever found to hang.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

EVERY = 1.0  # seconds between two looks
STOPPED = 20  # looks after which one that was stopped (SIGSTOP) hangs
IDLE = 40  # ... after which all hang, where none has computed
LEAST = 0.02  # seconds of the main thread that are a sign of life
BUSY = 0.02  # of a core: threads that compute beside it
TO_ANSWER = 2.0  # seconds in which a process says where it is
WAITING = re.compile(r"torch[/\\]distributed[/\\]")
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(slots=True)
class ProcessActivity:
    """What one process did: how many looks it has been stopped for, and since when it has not computed."""

    stopped: int = 0
    idle: int = 0
    main: float = 0.0
    all: float = 0.0

    def look(self, pid: int) -> bool:
        """Reads /proc once more; False: it has ended. Who waits for a disk (D) is not idle."""
        try:
            state, main, every = _times(pid)
        except (OSError, ValueError):
            return False
        if state == "Z":
            return False
        self.stopped = self.stopped + 1 if state == "T" else 0
        if state == "D" or main - self.main > LEAST or every - self.all > BUSY * EVERY * (self.idle + 1):
            self.idle, self.main, self.all = 0, main, every
        else:
            self.idle += 1
        return True


@dataclass(slots=True)
class Watch:
    """Looks at processes now and then; at those that have ended no more.

    said  where each writes what it has to say: asked by SIGUSR2, where it is (`tell_where`)
    """

    pids: Sequence[int]
    said: Sequence[IO[str]]
    _lives: dict[int, ProcessActivity] = field(default_factory=dict)
    _next: float = 0.0

    def __post_init__(self) -> None:
        self._lives = {i: ProcessActivity() for i in range(len(self.pids))}

    def hanging(self) -> dict[int, str]:
        """{number of a process that hangs: why one thinks so}; {} while all is well, and between two looks."""
        if not self._look():
            return {}
        if any(life.stopped for life in self._lives.values()):
            why = f"was stopped (SIGSTOP) {STOPPED * EVERY:.0f} s ago"
            return {i: why for i, life in self._lives.items() if life.stopped >= STOPPED}
        return self._idle() if min(life.idle for life in self._lives.values()) >= IDLE else {}

    def stopped(self, *, since: int) -> list[int]:
        """The numbers of those that have been stopped (SIGSTOP) for so many looks."""
        return [i for i, life in self._lives.items() if life.stopped >= since] if self._look() else []

    def _look(self) -> bool:
        """Looks, if it is time to and there is anything to look at; where there is no /proc there is nothing."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + EVERY
        self._lives = {i: life for i, life in self._lives.items() if life.look(self.pids[i])}
        return bool(self._lives)

    def _idle(self) -> dict[int, str]:
        """Of processes that all do nothing, those that do not wait for another."""
        ends = {i: os.fstat(self.said[i].fileno()).st_size for i in self._lives}
        for i in self._lives:
            os.kill(self.pids[i], signal.SIGUSR2)
        time.sleep(TO_ANSWER)
        places = {i: _innermost(self.said[i], end) for i, end in ends.items()}
        found = {i: place for i, place in places.items() if not WAITING.search(place)}
        since = f"has done nothing for {IDLE * EVERY:.0f} s"
        named = found or dict.fromkeys(places, "it waits for the others")
        return {i: f"{since} ({place or 'it does not say where it is'})" for i, place in named.items()}


def tell_where() -> None:
    """In one of the processes: it writes where it is when it is asked, even where it computes outside of Python."""
    import faulthandler

    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR2, all_threads=False)


def _innermost(file: IO[str], start: int) -> str:
    """The innermost frame of the stack that was written there; the place in the file is the process's own."""
    lines = os.pread(file.fileno(), 1 << 16, start).decode(errors="replace").splitlines()
    return next((line.strip() for line in lines if line.startswith("  File ")), "")


def _times(pid: int) -> tuple[str, float, float]:
    """A process's state, and the seconds that its main thread and all of its threads have computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    main = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]
    return fields[0], int(main) / 1e9, (int(fields[11]) + int(fields[12])) / TICKS
