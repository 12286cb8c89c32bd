"""The command that compares objectives."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from bothways.cli.options import OBJECTIVE, REQUIRED, ConfigFile, Device, Settings, configured, from_record, repeated
from bothways.cli.show import Json, print_json
from bothways.terminal import draw, say

Probes = Annotated[
    list[str],
    repeated(metavar="[NAME=]TRAIN,TEST", about="Labelled files (text, or text_a and text_b; label) for linear probes"),
]
Tasks = Annotated[
    list[str],
    repeated(metavar="[NAME=]TASK:TRAIN,TEST", about="Fine-tune every model to it: tag:train.jsonl,test.jsonl"),
]
SAID_EVERY = 60.0  # seconds, where there is no terminal


@from_record("bothways.evaluation.comparison:CompareConfig", "out", "seeds", "size", "pairs", shards="")
def compare(
    context: typer.Context,
    *,
    objectives: Annotated[
        str | None,
        typer.Option(
            help=f'Expressions with ";" between them: "causal; mlm; causal -> mlm".{REQUIRED}', autocompletion=OBJECTIVE
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Of every run: 5e13flops as counted, or seconds, 20min.  [default: 5e12flops]")
    ] = None,
    probe: Probes,
    task: Tasks,
    settings: Settings,
    config: ConfigFile = None,
    device: Device = None,
    json: Json = False,
    **given: Any,
) -> None:
    """Train every objective on the same text with the same compute, and measure all models on the same data.

    Each gets its own learning rate by a short search. Stopped, the same command goes on; with more objectives, seeds
    or evaluation data it adds them.
    """
    display = CompareDisplay(quiet=json)
    display.say("loading torch")
    from bothways.evaluation.comparison import CompareConfig
    from bothways.evaluation.comparison import compare as run

    given |= {"objectives": _expressions(objectives)} if objectives is not None else {}
    given |= {"budget": budget} if budget else {}
    files = "(?P<train>[^,]+),(?P<test>.+)"
    probes = _named(probe, files, option="probe", form="TRAIN.jsonl,TEST.jsonl")
    tasks = _named(task, f"(?P<task>[^=:]+):{files}", option="task", form="TASK:TRAIN.jsonl,TEST.jsonl")
    given |= {"probes": {name: [one["train"], one["test"]] for name, one in probes.items()}} if probe else {}
    given |= {"tasks": tasks} if task else {}
    example = 'compare SHARDS --objectives "causal; mlm" --out runs/cmp'
    chosen = configured(CompareConfig, given, file=config, settings=settings, example=example)
    result = run(chosen, device=device, show=display.show, plan=display.plan, say=display.say)
    if json:
        return print_json(result)
    from bothways.evaluation.comparison.table import tables

    draw(*tables(result), wrap=True)
    say(f"\nreport  {chosen.out / 'comparison.html'}")
    return None


def _expressions(text: str) -> list[str]:
    from bothways.errors import UsageError

    found = [expression.strip() for expression in text.split(";") if expression.strip()]
    if not found:
        raise UsageError('--objectives expects expressions with ";" between them, as in "causal; mlm"; got none')
    return found


def _named(texts: list[str], pattern: str, *, option: str, form: str) -> dict[str, dict[str, str]]:
    """{name: what the pattern found} of "NAME=..." or of "...", whose name is that of the training file's folder.

    Raises:
        UsageError: one that is not of the form, or two of the same name.
    """
    from bothways.errors import UsageError

    found: dict[str, dict[str, str]] = {}
    for text in texts:
        match = re.fullmatch(f"(?:(?P<name>.*)=)?{pattern}", text)
        if match is None:
            raise UsageError(f"--{option} expects {form}, with NAME= before it if you like; got {text!r}")
        parts = match.groupdict()
        name = parts.pop("name") or Path(parts["train"]).resolve().parent.name
        if name in found:
            raise UsageError(f"two {option}s are called {name!r}: give each a name, --{option} NAME={form}")
        found[name] = parts
    return found


class CompareDisplay:
    """Lines of what is done, and now and then one of what is going on and how long all runs will take.

    Told by several threads; a line that is said twice or never does no harm.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._started = self._said = self._trained = time.monotonic()
        self._sizes: dict[str, float] = {}
        self._first: dict[str, float] = {}  # progress when it was first seen: a run may be resumed, or done before
        self._last: dict[str, float] = {}

    def say(self, text: str) -> None:
        """A line for people, behind the time that has passed."""
        if not self._quiet:
            passed = timedelta(seconds=round(time.monotonic() - self._started))
            say(f"{passed}  {text}")

    def plan(self, label: str, size: float) -> None:
        """A run that will be trained; 1.0 is a whole budget."""
        self._sizes[label] = size

    def show(self, label: str, progress: float) -> None:
        """How far a run is; 1.0 when it has ended."""
        now = time.monotonic()
        if all(first == 1 for first in list(self._first.values())):
            self._trained = now  # what was done before took no time now
        self._first.setdefault(label, progress)
        self._last[label] = progress
        if now - self._said > SAID_EVERY:
            self._said = now
            going = [f"{name} {share:.0%}" for name, share in list(self._last.items()) if share < 1]
            left = [self._left(now)] if self._sizes else []  # of a search nobody knows what will be trained
            if said := [f"running: {', '.join(going)}"] * bool(going) + left:
                self.say("; ".join(said))

    def _left(self, now: float) -> str:
        """Of the training that was planned: measuring is not counted."""
        runs = list(self._last.items())
        done = sum(self._sizes[name] * (last - self._first[name]) for name, last in runs)
        whole = sum(self._sizes.values()) - sum(self._sizes[name] * self._first[name] for name, _ in runs)
        if not done:
            return "time to go not known yet"
        return f"about {timedelta(seconds=round((now - self._trained) * (whole - done) / done))} of training to go"
