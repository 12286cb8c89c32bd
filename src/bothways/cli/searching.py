"""The command that searches for a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from bothways.cli.comparison import CompareDisplay
from bothways.cli.options import ConfigFile, Device, Settings, configured, from_record
from bothways.cli.show import Json, print_json
from bothways.terminal import bold, command, draw, say

if TYPE_CHECKING:
    from rich.table import Table


@from_record(
    "bothways.training.search:SearchConfig", "out", "objective", "size", "hours", "processes", shards="", start="--from"
)
def search(
    context: typer.Context,
    *,
    settings: Settings,
    config: ConfigFile = None,
    device: Device = None,
    json: Json = False,
    **given: Any,
) -> None:
    """Find optimiser, learning rate, batch and schedule for a text, this machine and so many hours; writes a recipe.

    Many short trials, of which the better half goes on, and the best of all once more, long. Stopped, the same command
    goes on. Only one at a time is trained, on all cores.
    """
    display = CompareDisplay(quiet=json)
    display.say("loading torch")
    from bothways.training.search import SearchConfig
    from bothways.training.search import search as run

    example = "search SHARDS --objective mlm --size tiny --hours 2"
    chosen = configured(SearchConfig, given, file=config, settings=settings, example=example)
    result = run(chosen, device=device, show=display.show, say=display.say)
    if json:
        return print_json(result)
    draw(_table(result))
    say(f"\nrecipe  {result['recipe']}")
    say(f"model   {result['best']['folder']}")
    processes = ["--processes", chosen.processes] if chosen.processes > 1 else []
    say(f"try     {command('pretrain', chosen.shards, '--out', 'RUN', '--config', result['recipe'], *processes)}")
    return None


def _table(result: dict[str, Any]) -> Table:
    """A row for every candidate, a column for every length of trials."""
    from rich.table import Table

    trials, best = result["trials"], result["best"]["label"]
    lengths = sorted({trial["seconds"] for trial in trials})
    table = Table()
    table.add_column("held-out loss, nats, after")
    for length in lengths:
        table.add_column(f"{length:.0f} s", justify="right")
    for label in dict.fromkeys(trial["label"] for trial in trials):
        losses = {trial["seconds"]: trial["loss"] for trial in trials if trial["label"] == label}
        cells = [_loss(losses[length]) if length in losses else "" for length in lengths]
        table.add_row(*(bold(cell) if label == best else cell for cell in (label, *cells)))
    return table


def _loss(loss: float | None) -> str:
    return "diverged" if loss is None else f"{loss:.3f}"
