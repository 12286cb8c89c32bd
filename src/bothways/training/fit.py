"""The loop as a run goes through it: a line of metrics a step, and a stop that saves first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bothways.errors import Stopped
from bothways.stopping import Signalled, came, heeded, shielded
from bothways.terminal import command
from bothways.training.config import TrainingConfig
from bothways.training.loop import LoopInputs, Report, train
from bothways.training.processes import Processes
from bothways.training.run_folder import RunFolder
from bothways.training.state import State

Show = Callable[[dict[str, Any]], None]
Say = Callable[[str], object]


def again(name: str, out: Path, team: Processes) -> str:
    """The command that goes on with a run which the command of this name began."""
    return command(name, "--resume", "--out", out, *team.options)


@contextmanager
def stoppable(out: Path, again: str) -> Iterator[None]:
    """Around a whole run: what a signal ends before, between and after the steps is left out.

    Raises:
        Stopped: a signal came.
    """
    number = 0
    try:
        with heeded():
            try:
                yield
            finally:
                number = came()  # which is forgotten outside
    except (Signalled, RuntimeError) as error:
        if not isinstance(error, Signalled) and not number:
            raise
        signalled = error if isinstance(error, Signalled) else Signalled(number)  # another process left first
        begun = (out / "config.yaml").is_file()
        how = f"what was learned is saved. Go on with: {again}" if begun else "nothing is written yet"
        raise Stopped(f"{signalled}; {how}", exit_code=signalled.exit_code) from None


@dataclass(frozen=True, slots=True)
class TrainLoop:
    """What goes through the loop.

    show   is handed every line of metrics.jsonl as it is written
    save   writes a checkpoint
    again  the command that goes on
    """

    work: LoopInputs
    state: State
    config: TrainingConfig
    folder: RunFolder
    show: Show
    save: Callable[[], object]
    again: str

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Around the steps and all that is done between them: a signal ends them where nothing is torn.

        Raises:
            Stopped: a signal came, and what was learned is saved.
        """
        try:
            with shielded():
                yield
        except Signalled as signalled:
            how = "before the first step was done"
            with shielded():
                if self.state.step:
                    self.save()
                    how = f"after step {self.state.step} and saved"
                self.folder.note(status="stopped")
                raise Stopped(f"stopped {how}. Go on with: {self.again}", exit_code=signalled.exit_code) from None

    def steps(self, total: int, more: Callable[[Report, float], dict[str, Any]]) -> Iterator[Report]:
        """The steps up to `total`, each with its line; `more` gives what else stands in it, from the report and the
        seconds that the step took. Whoever iterates evaluates and saves between two steps.

        Raises:
            Signalled: a signal came; the step that was begun is left out.
        """
        started, before = time.perf_counter(), self.state.tokens
        for report in train(self.work, state=self.state, config=self.config, total=total):
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
            started, before = time.perf_counter(), report.tokens

    def tell(self, line: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl and shows it."""
        self.folder.append(line)
        self.show(line)
