"""What one sees while a run goes on: a live bar on a terminal, now and then a plain line anywhere else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from bothways import terminal
from bothways.terminal import bold, compact, dim

EVERY_SECONDS, EVERY_PROGRESS = 10.0, 0.05
DRAWN_EVERY = 0.1  # seconds, of a panel on a terminal


class Display:
    """Shows the lines of metrics.jsonl as they come: `with Display(clock=time.monotonic) as show: show(line)`.

    clock         seconds, from any origin
    plain         True: text lines, the first, the last, one every 10 seconds or 5 % of the run, and every validation;
                  None: plain unless standard output is a terminal
    say           takes a plain line, without its newline
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        plain: bool | None = None,
        say: Callable[[str], object] = terminal.say,
        console: Console | None = None,
    ) -> None:
        console = console or terminal.console()
        self._clock, self.say = clock, say
        if plain is None:
            plain = not console.file.isatty() or console.is_dumb_terminal
        self._live = None if plain else Live(console=console, auto_refresh=False)
        self._last: dict[str, dict[str, Any]] = {}
        self._origin: tuple[float, float] | None = None  # clock and progress when first seen: a run may be resumed
        self._written = (0.0, 0.0)
        self._drawn = -math.inf

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, line: dict[str, Any]) -> None:
        """Take one line of metrics, of either kind."""
        pieces = self._last.get("train", {}).get("pieces", 1)
        self._last[line["kind"]] = line
        for said in _remarkable(line, pieces):
            self.say(said)
        now, train = self._clock(), self._last.get("train", line)
        progress = train.get("progress", 0.0)
        step = _step(line["step"], of=train.get("steps"))
        first = self._origin is None and line["kind"] == "train"
        if first:
            self._origin = self._written = (now, progress)
        left = self._left(now, progress)
        if self._live:
            self._live.start()  # once; what is said before the first line of metrics needs no bar
            self._live.update(self._panel(step, progress, left), refresh=self._drawn_again(now, line, progress))
        elif line["kind"] == "validation":
            self.say(f"held-out  {step} {progress:6.1%}  {_held_out(line)}")
        elif first or progress >= 1 or self._due(now, progress):
            self._written = (now, progress)
            self.say(f"train     {step} {progress:6.1%}  {_losses(line)}  {_speed(line)}  {left}")

    def _drawn_again(self, now: float, line: dict[str, Any], progress: float) -> bool:
        """Whether the terminal shows it at once: not every step of a run of many."""
        shown = line["kind"] == "validation" or progress >= 1 or now >= self._drawn + DRAWN_EVERY
        self._drawn = now if shown else self._drawn
        return shown

    def _due(self, now: float, progress: float) -> bool:
        return now >= self._written[0] + EVERY_SECONDS or progress >= self._written[1] + EVERY_PROGRESS

    def _left(self, now: float, progress: float) -> str:
        started, start = self._origin or (now, progress)
        if progress <= start:
            return "-:--:-- left"
        return f"{timedelta(seconds=round((now - started) * (1 - progress) / (progress - start)))} left"

    def _panel(self, step: str, progress: float, left: str) -> Group:
        bar, rows = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
        bar.add_row(ProgressBar(total=1.0, completed=progress, width=30), bold(f"{progress:.1%}"), step, left)
        if train := self._last.get("train"):
            rows.add_row(dim("training"), _losses(train))
            rows.add_row(dim("speed"), f"{_speed(train)}  {compact(train['tokens'])} tokens so far")
        if validation := self._last.get("validation"):
            rows.add_row(dim(f"held-out at {validation['step']}"), _held_out(validation))
        return Group(bar, rows)


def _remarkable(line: dict[str, Any], pieces: int) -> Iterator[str]:
    """What one should see of a step, whenever it comes; `pieces`, those of the step before."""
    if "spike" in line:
        limit, loss = line["spike"], line["loss"]
        yield f"step {line['step']} is not learned: its loss of {loss:.3f} is a spike, above {limit:.3f}"
    if line.get("pieces", 1) > pieces:
        yield f"out of memory at step {line['step']}: from here on micro-batches are read in {line['pieces']} pieces"


def _step(step: int, *, of: int | None) -> str:
    """`of`: all of the run's; None where nobody knows (yet): a budget in seconds is measured first."""
    return f"step {step:>6}" if of is None else f"step {step:>{max(6, len(str(of)))}}/{of}"


def _losses(line: dict[str, Any]) -> str:
    return "  ".join(f"{name} {loss:6.3f}" for name, loss in line["losses"].items())


def _speed(line: dict[str, Any]) -> str:
    parts = [f"{compact(line['tokens_per_second']):>5} tokens/s"]
    parts += [f"{line['useful_share']:3.0%} of peak"] if line.get("useful_share") is not None else []
    parts += [f"lr {line['learning_rate']:.1e}"] if line.get("learning_rate") is not None else []
    spikes = line.get("spikes", 0)
    parts += [f"{line['skipped']} skipped"] if line.get("skipped") else []
    return "  ".join([*parts, f"{spikes} spike{'s' * (spikes > 1)}"] if spikes else parts)


def _held_out(line: dict[str, Any]) -> str:
    parts = [_losses(line)]
    bits = line.get("bits_per_byte") or {}
    parts += [f"{name if len(bits) > 1 else ''} {value:.3f} bits/byte".lstrip() for name, value in bits.items()]
    shares = {"fills": line.get("fill_accuracy"), "next words": line.get("next_accuracy")}
    return "  ".join(parts + [f"{name} {share:.1%}" for name, share in shares.items() if share is not None])
