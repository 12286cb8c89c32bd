"""The command `babylm`: a budget in words."""

from __future__ import annotations

from typing import Any

import typer

from bothways.cli.comparison import CompareDisplay
from bothways.cli.options import ConfigFile, Device, Processes, Settings, configured, from_record
from bothways.cli.show import Json, print_json
from bothways.terminal import draw, say


@from_record(
    "bothways.evaluation.babylm:BabyLMConfig",
    *("out", "objective", "size", "words", "passes", "pairs"),
    sources="",
)
def babylm(
    context: typer.Context,
    *,
    settings: Settings,
    config: ConfigFile = None,
    processes: Processes = 1,
    device: Device = None,
    json: Json = False,
    **given: Any,
) -> None:
    """Train under BabyLM's cap on your own text (10M words, ten passes) and score minimal pairs along the way.

    A model is kept after each tenth of the first pass and after each pass. Stopped, the same command goes on; with
    other pairs it scores the same models.
    """
    display = CompareDisplay(quiet=json)
    display.say("loading torch")
    from bothways.evaluation.babylm import BabyLMConfig
    from bothways.evaluation.babylm import babylm as run

    chosen = configured(
        BabyLMConfig, given, file=config, settings=settings, example="babylm my-text/ --pairs FILE --out runs/b"
    )
    found = run(chosen, processes=processes, device=device, show=display.show, plan=display.plan, say=display.say)
    if json:
        return print_json(found)
    from bothways.evaluation.babylm.table import tables

    draw(*tables(found), wrap=True)
    say(f"\nreport  {chosen.out / 'babylm.html'}")
    return None
