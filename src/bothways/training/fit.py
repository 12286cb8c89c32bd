"""The loop as a run goes through it: a line of metrics a step, and a stop that saves first."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bothways.errors import Stopped
from bothways.training.config import TrainingConfig
from bothways.training.loop import Report, Work, train
from bothways.training.run_folder import RunFolder
from bothways.training.state import State

Show = Callable[[dict[str, Any]], None]
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Fit:
    """What goes through the loop.

    show   is handed every line of metrics.jsonl as it is written
    stop   the number of a signal that came, or 0
    save   writes a checkpoint
    again  the command that goes on
    """

    work: Work
    state: State
    config: TrainingConfig
    folder: RunFolder
    show: Show
    stop: Callable[[], int]
    save: Callable[[], object]
    again: str

    def steps(self, total: int, more: Callable[[Report, float], dict[str, Any]]) -> Iterator[Report]:
        """The steps up to `total`, each with its line; `more` gives what else stands in it, from the report and the
        seconds that the step took. Whoever iterates evaluates and saves between two steps.

        Raises:
            Stopped: a signal came, and what was learned is saved.
        """
        started, before = time.perf_counter(), self.state.tokens
        for report in train(self.work, state=self.state, config=self.config, total=total, stop=self.stop):
            took = time.perf_counter() - started
            self.tell(
                {
                    "kind": "train",
                    "step": report.step,
                    "steps": total,
                    "progress": report.step / total,
                    "tokens": report.tokens,
                    "loss": report.loss,
                    "learning_rate": report.learning_rate,
                    "padding": round(report.padding, 4),
                    "skipped": report.skipped,
                    "spikes": report.spikes,
                    **({} if report.spike is None else {"spike": report.spike}),
                    **({} if report.pieces == 1 else {"pieces": report.pieces}),
                    "tokens_per_second": round((report.tokens - before) / took, 1),
                    **more(report, took),
                }
            )
            yield report
            if report.stop:
                self.save()
                self.folder.note(status="stopped")
                number = self.stop() or signal.SIGTERM
                message = f"stopped after step {report.step} and saved. Go on with: {self.again}"
                raise Stopped(message, exit_code=128 + number)
            started, before = time.perf_counter(), report.tokens

    def tell(self, line: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl and shows it."""
        self.folder.append(line)
        self.show(line)
