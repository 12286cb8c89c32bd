"""Runs as processes of their own: one after another or several at once, each resumed where it stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar

from bothways.claims import claimed
from bothways.errors import BothwaysError, DivergedError, MachineError, Stopped, UsageError
from bothways.machine import cores, leave_with_parent
from bothways.stopping import handled
from bothways.training.config import Budget
from bothways.training.pretraining import PretrainConfig
from bothways.training.run_folder import ENDED, RunFolder

MOVABLE = {"shards", "out", "code"}  # may have moved since; pretrain checks their contents
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
GO_ON = "stopped, and every run has saved. Go on with the same command."
LOOK_EVERY = 0.5  # seconds
ENDS_WITHIN = 30.0  # ... in which a run has saved whose comparison was killed
Show = Callable[[str, float], None]
T = TypeVar("T")


class Workers:
    """Trains runs, at most `at_once` at a time, the cores shared out evenly.

    show  called with (a run's label, its progress from 0 to 1) now and then, and 1.0 when it has ended
    plan  called with (a run's label, its size: 1.0 is the budget) of what will be trained
    device  where they compute; None: on a GPU when there is one
    processes  of every run
    """

    def __init__(
        self,
        at_once: int,
        show: Show,
        plan: Show = lambda label, size: None,
        *,
        device: str | None = None,
        processes: int = 1,
    ) -> None:
        self.at_once = at_once
        self.processes = processes
        self.device = device
        self.plan = plan
        self._show = show
        self._children: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stop = 0  # the signal that ended it

    def each(self, work: Callable[[T], Any], items: Sequence[T]) -> list[Any]:
        """`work` of each item, `at_once` at a time, in the order of the items; the first that fails ends the others.

        Raises:
            Stopped: SIGTERM or Ctrl-C came; every run has saved.
        """
        with handled(lambda number, _: self._end(number)), ThreadPoolExecutor(self.at_once) as pool:
            futures: list[Future[Any]] = [pool.submit(work, item) for item in items]
            done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
            for future in waiting:
                future.cancel()
            failed = [error for future in futures if future in done and (error := future.exception())]
            if failed:
                self._end(signal.SIGTERM)
                raise min(failed, key=lambda error: isinstance(error, Stopped))  # what went wrong, not what was stopped
            return [future.result() for future in futures]

    def train(self, config: PretrainConfig, label: str) -> RunFolder:
        """The run, trained to its end: at once if it was before, else from where it stopped; under a larger budget,
        from before its learning rate fell. It may have diverged.

        Raises:
            BothwaysError: the message of the run, with its exit code.
        """
        folder, longer = RunFolder(config.out), False
        if (config.out / "config.yaml").exists():
            before = folder.config(PretrainConfig)
            longer = _longer(before.training.budget, config.training.budget)
            if _but_budget(before) != _but_budget(config) or not (
                longer or before.training.budget == config.training.budget
            ):
                raise UsageError(f"{label}: {config.out} holds a run with other settings. Delete or move that folder.")
            if folder.manifest().get("status") in ENDED and not longer:
                self._show(label, 1.0)
                return folder
        with claimed(config.out, patience=ENDS_WITHIN):
            if longer:
                folder.note(status="running")  # first: a kill in between must not leave a longer run that seems done
            folder.keep(config)
        command = ["pretrain", "--resume", "--out", str(config.out), "--json"]
        command += ["--device", self.device] if self.device else []
        command += ["--processes", str(self.processes)] if self.processes > 1 else []
        self.run("bothways", command, label, metrics=config.out / "metrics.jsonl", allowed=DivergedError.exit_code)
        self._show(label, 1.0)
        return folder

    def run(
        self, module: str, arguments: Sequence[str], label: str, *, metrics: Path | None = None, allowed: int = 0
    ) -> None:
        """python -m module arguments, to its end, with its share of the cores.

        Raises:
            BothwaysError: its message, with its exit code, unless that is `allowed`.
        """
        with TemporaryFile("w+") as errors:
            code = self._wait([sys.executable, "-m", module, *arguments], errors, label, metrics)
            errors.seek(0)
            message = errors.read().strip().splitlines()
        if code in STOPPED or (self._stop and code):
            raise Stopped(GO_ON, exit_code=128 + (self._stop or signal.SIGTERM))
        if code not in (0, allowed):
            raise _failed(label, code, message)

    def _wait(self, command: Sequence[str], errors: IO[str], label: str, metrics: Path | None) -> int:
        with self._lock:
            if self._stop:
                return 128 + self._stop
            child = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # Ctrl-C comes here, and is passed on once
                preexec_fn=leave_with_parent,
                env={**os.environ, "OMP_NUM_THREADS": str(max(1, cores() // (self.at_once * self.processes)))},
            )
            self._children.add(child)
        self._pass_on()  # of a signal that came while it was started
        while (code := child.poll()) is None:
            if metrics is not None:
                self._show(label, _progress(metrics))
            time.sleep(LOOK_EVERY)
        with self._lock:
            self._children.discard(child)
        return code

    def _end(self, number: int) -> None:
        """Has the runs save and leave, and starts no other. Called by signal handlers too: it takes no lock."""
        self._stop = self._stop or number
        self._pass_on()

    def _pass_on(self) -> None:
        if self._stop:
            for child in list(self._children):
                if child.poll() is None:
                    child.send_signal(signal.SIGTERM)


def _but_budget(config: PretrainConfig) -> dict[str, Any]:
    """The settings that a run must keep."""
    return config.model_dump(exclude={**dict.fromkeys(MOVABLE, True), "training": {"budget"}})


def _longer(before: Budget, now: Budget) -> bool:
    """Whether a budget is more of the same unit."""
    pairs = [(old, new) for (_, old), (_, new) in zip(before, now, strict=True) if old is not None or new is not None]
    return len(pairs) == 1 and pairs[0][1] > pairs[0][0]


def _progress(metrics: Path) -> float:
    """How far a run is, by the end of its metrics.jsonl; 0.0 where that is unknown."""
    try:
        with open(metrics, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2000))
            tail = file.read().decode(errors="replace")
    except FileNotFoundError:
        return 0.0
    _, found, rest = tail.rpartition('"progress": ')
    return float(rest.split(",")[0]) if found and "," in rest else 0.0


def _failed(label: str, code: int, message: Sequence[str]) -> BothwaysError:
    """The last line that a run printed, under its label; a run that was killed printed none."""
    last = message[-1].removeprefix("bothways: ") if message and code > 0 else f"killed, exit code {code}"
    error = BothwaysError(f"{label}: {last}")
    error.exit_code = code if code > 0 else MachineError.exit_code
    return error
