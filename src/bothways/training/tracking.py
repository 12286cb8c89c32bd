"""Experiment tracking for those who have it: the lines of metrics.jsonl, sent on to TensorBoard or trackio too."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from bothways.errors import needs, unknown
from bothways.training.fit import Show

SAYS_WHERE = frozenset({"kind", "step", "steps", "epoch", "progress"})  # in a line; all else is a figure
PROJECT = "bothways"
QUIET: dict[str, Any] = {"auto_log_cpu": False, "auto_log_gpu": False}  # it would measure the machine
Send = Callable[[dict[str, float], int], object]


@contextmanager
def tracked(name: str | None, folder: Path, config: Mapping[str, Any], *, show: Show, resume: bool) -> Iterator[Show]:
    """A `show` that sends every line on to the tracker of that name too; None: to nobody else.

    TensorBoard's files are written into `folder`/tensorboard; trackio keeps a run of the folder's name where it keeps
    all, in the project "bothways".

    Raises:
        UsageError: a tracker that is not known.
        MachineError: its package is not installed.
    """
    if name is None:
        yield show
        return
    if name not in TRACKERS:
        raise unknown("tracker", name, TRACKERS)
    with TRACKERS[name](folder, config, resume) as send:

        def both(line: dict[str, Any]) -> None:
            show(line)
            send(figures(line), line["step"])

        yield both


def figures(line: Mapping[str, Any]) -> dict[str, float]:
    """{"train/losses/mlm": 2.5}: the numbers of a line under its kind."""

    def flat(values: Mapping[str, Any], path: str) -> Iterator[tuple[str, float]]:
        for name, value in values.items():
            if isinstance(value, Mapping):
                yield from flat(value, f"{path}/{name}")
            elif isinstance(value, int | float):
                yield f"{path}/{name}", float(value)

    return dict(flat({name: value for name, value in line.items() if name not in SAYS_WHERE}, line["kind"]))


@contextmanager
def _tensorboard(folder: Path, config: Mapping[str, Any], resume: bool) -> Iterator[Send]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise needs("tensorboard", "tensorboard") from None
    writer = None

    def send(values: dict[str, float], step: int) -> None:
        nonlocal writer
        if writer is None:  # what was written after this step, before the run was stopped, is hidden
            writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step if resume else None)
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    try:
        yield send
    finally:
        if writer is not None:
            writer.close()


@contextmanager
def _trackio(folder: Path, config: Mapping[str, Any], resume: bool) -> Iterator[Send]:
    try:
        import trackio
    except ImportError:
        raise needs("trackio", "trackio") from None
    run = None

    def send(values: dict[str, float], step: int) -> None:
        nonlocal run
        if run is None:
            name, again = folder.resolve().name, "allow" if resume else "never"
            with redirect_stdout(sys.stderr):  # it greets
                run = trackio.init(PROJECT, name, config=dict(config), resume=again, embed=False, **QUIET)
        run.log(values, step=step)

    try:
        yield send
    finally:
        if run is not None:
            with redirect_stdout(sys.stderr):
                trackio.finish()


TRACKERS = {"tensorboard": _tensorboard, "trackio": _trackio}
"""{name: of a folder, a configuration and whether the run goes on, what sends (figures, step)}."""
