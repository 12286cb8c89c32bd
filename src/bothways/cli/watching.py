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
class Life:
    """What one process did: how many looks it has been stopped for, and since when it has not computed."""

    stopped: int = 0
    idle: int = 0
    main: float = 0.0
    all: float = 0.0

    def look(self, pid: int) -> None:
        """Reads /proc once more."""
        state, main, every = _times(pid)
        self.stopped = self.stopped + 1 if state == "T" else 0
        if main - self.main > LEAST or every - self.all > BUSY * EVERY * (self.idle + 1):
            self.idle, self.main, self.all = 0, main, every
        else:
            self.idle += 1


@dataclass(slots=True)
class Watch:
    """Looks at processes now and then.

    said  where each writes what it has to say: asked by SIGUSR2, where it is (`tell_where`)
    """

    pids: Sequence[int]
    said: Sequence[IO[str]]
    _lives: list[Life] = field(default_factory=list)
    _next: float = 0.0

    def __post_init__(self) -> None:
        self._lives = [Life() for _ in self.pids]

    def hanging(self) -> dict[int, str]:
        """{number of a process that hangs: why one thinks so}; {} while all is well, and between two looks."""
        if not self._look():
            return {}
        if any(life.stopped for life in self._lives):
            why = f"was stopped (SIGSTOP) {STOPPED * EVERY:.0f} s ago"
            return {i: why for i, life in enumerate(self._lives) if life.stopped >= STOPPED}
        return self._idle() if min(life.idle for life in self._lives) >= IDLE else {}

    def stopped(self, *, since: int) -> list[int]:
        """The numbers of those that have been stopped (SIGSTOP) for so many looks."""
        return [i for i, life in enumerate(self._lives) if life.stopped >= since] if self._look() else []

    def _look(self) -> bool:
        """Looks, if it is time to."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + EVERY
        try:
            for pid, life in zip(self.pids, self._lives, strict=True):
                life.look(pid)
        except (OSError, ValueError):  # no /proc, or one of them is gone: that is seen elsewhere
            return False
        return True

    def _idle(self) -> dict[int, str]:
        """Of processes that all do nothing, those that do not wait for another."""
        ends = [os.fstat(file.fileno()).st_size for file in self.said]
        for pid in self.pids:
            os.kill(pid, signal.SIGUSR2)
        time.sleep(TO_ANSWER)
        places = [_innermost(file, end) for file, end in zip(self.said, ends, strict=True)]
        found = {i: place for i, place in enumerate(places) if not WAITING.search(place)}
        since = f"has done nothing for {IDLE * EVERY:.0f} s"
        named = found or dict.fromkeys(range(len(places)), "it waits for the others")
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
