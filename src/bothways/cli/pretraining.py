"""Commands that train."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bothways.cli.launch import as_processes, leads
from bothways.cli.options import (
    ConfigFile,
    Device,
    Processes,
    Restarts,
    Settings,
    Track,
    begun_in,
    configured,
    from_record,
)
from bothways.cli.show import Json, grid, print_json
from bothways.terminal import command, compact, doing, in_bytes, say

if TYPE_CHECKING:
    from bothways.training.pretraining import PretrainConfig


@from_record("bothways.training.pretraining:PretrainConfig", "out", "objective", "size", shards="", start="--from")
def pretrain(
    context: typer.Context,
    *,
    budget: Annotated[
        str | None, typer.Option(help="1000steps, 5e6tokens, 1e14flops, 300s, 40min or 2h.  [default: 5min]")
    ] = None,
    settings: Settings,
    config: ConfigFile = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, exactly; a larger --budget prolongs it.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what it will cost: parameters, memory, time.")
    ] = False,
    processes: Processes = 1,
    max_restarts: Restarts = 0,
    device: Device = None,
    track: Track = None,
    json: Json = False,
    **given: Any,
) -> None:
    """Train a model on shards and save it so that transformers loads it. Ctrl-C saves; --resume goes on.

    On several machines: torchrun ... -m bothways pretrain ...
    """
    as_processes(processes, restarts=max_restarts, again=lambda: _again(given, file=config, settings=settings))
    quiet = json or not leads()
    if not quiet:
        say("loading torch")
    from bothways.training.pretraining import pretrain as train

    chosen = _configuration(given, budget=budget, file=config, settings=settings, resume=resume)
    if dry_run:
        return _show_rehearsal(chosen, device=device, json=json)
    if quiet:
        folder = train(chosen, resume=resume, device=device, track=track)
    else:
        from bothways.training.display import Display

        with Display(clock=time.monotonic) as show:
            folder = train(chosen, resume=resume, device=device, track=track, show=show, say=show.say)
    if leads():
        _show_result(folder, json=json)
    return None


def _again(given: dict[str, Any], *, file: Path | None, settings: list[str]) -> list[str]:
    """The words that go on with what this command began."""
    from bothways.training.pretraining import PretrainConfig

    out, words = begun_in(PretrainConfig, given, file=file, settings=settings), sys.argv[1:]
    return words if out is None or "--resume" in words else [*words, "--resume", "--out", str(out)]


def _configuration(
    given: dict[str, Any], *, budget: str | None, file: Path | None, settings: list[str], resume: bool
) -> PretrainConfig:
    """What was given; a run that goes on has its own settings below."""
    from bothways.errors import UsageError
    from bothways.training.pretraining import PretrainConfig
    from bothways.training.run_folder import RunFolder

    if resume and "out" not in given:
        raise UsageError("--resume goes on with a run: say which with --out")
    before = RunFolder(given["out"]).config(PretrainConfig).model_dump(mode="json") if resume else {}
    settings = [*([f"training.budget={budget}"] if budget else []), *settings]
    example = "pretrain SHARDS --out runs/first"
    return configured(PretrainConfig, given, file=file, settings=settings, example=example, before=before)


def _show_rehearsal(chosen: PretrainConfig, *, device: str | None, json: bool) -> None:
    from bothways.training.pretraining.dry_run import estimate_run

    with doing("doing a few steps"):
        told = estimate_run(chosen, device=device)
    if not leads():
        return None
    if json:
        return print_json(told)
    share = told.useful_share
    speed = "" if share is None else f", at {share:.0%} of this machine's peak"
    return grid(
        {
            "parameters": f"{compact(told.parameters)} ({compact(told.body_parameters)} in the blocks)",
            "run": f"{told.steps:,} steps, {compact(told.tokens)} tokens, {told.epochs:.3g} epochs",
            "time": f"about {timedelta(seconds=round(told.seconds))}{speed}",
            "memory": in_bytes(told.memory),
        }
    )


def _show_result(folder: Path, *, json: bool) -> None:
    """Where everything is, and what to try."""
    faces = [name for name in ("encoder", "decoder", "generator") if (folder / name).is_dir()]
    if json:
        return print_json({"run": str(folder), "report": str(folder / "report.html"), "faces": faces})
    for name, (before, after) in _general(folder).items():
        say(f"\nother text  loss of the {name} token {before:.3f} before, {after:.3f} after")
    say(f"\nreport  {folder / 'report.html'}")
    for name in faces:
        say(f"model   {folder / name}")
    if "generator" in faces:
        say(f"try     {command('detect', folder, '...')}")
    elif "encoder" in faces:
        from bothways.errors import ModelError
        from bothways.reading import read_json

        fills = read_json(folder / "encoder" / "bothways.json", dict, error=ModelError)["hidden"]
        say(f"try     {command('fill', folder, '... [MASK] ...') if fills else command('embed', folder, '...')}")
    if "decoder" in faces:
        say(f"try     {command('generate', folder, '...')}")
    return None


def _general(folder: Path) -> dict[str, tuple[float, float]]:
    """{what was asked: loss on the text that was mixed in, at the beginning and at the end}."""
    from bothways.training.run_folder import RunFolder

    looks = [line["general"] for line in RunFolder(folder).lines() if line.get("general")]
    words = {"next": "next", "fill": "hidden"}
    return {words[name]: (looks[0][name], looks[-1][name]) for name in looks[0]} if looks else {}
