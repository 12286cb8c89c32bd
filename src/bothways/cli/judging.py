"""The command `judge`: several models answer the same prompts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bothways.cli.options import ConfigFile, Device, Settings, configured, from_record
from bothways.cli.show import Json, load_torch, print_json, room_for
from bothways.files import write_text
from bothways.terminal import doing, say

if TYPE_CHECKING:
    from bothways.evaluation.judging import Judgement


@from_record(
    "bothways.inference.decoding.options:GenerationOptions",
    *("max_new_tokens", "temperature", "top_k", "top_p", "seed"),
    usual="bothways.inference.decoding.options:JUDGED",
)
def judge(
    context: typer.Context,
    *,
    runs: Annotated[list[Path], typer.Argument(help="Runs, Hugging Face folders or GGUF files, side by side.")],
    prompts: Annotated[
        Path, typer.Option(help="Records with prompt (or messages), and reference and rules where they are known.")
    ],
    by: Annotated[
        Path | None, typer.Option("--judge", metavar="MODEL", help="A model that compares answers, in both orders.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write a page with all answers here.")] = None,
    settings: Settings,
    config: ConfigFile = None,
    device: Device = None,
    json: Json = False,
    **given: Any,
) -> None:
    """How well do models answer? Formats obeyed, references met, refusals, and which of two answers is the better.

    Left alone, a model takes the likeliest token every time, 128 at most, or writes as it was fine-tuned to; an option
    of generating is then for all of them.
    """
    load_torch()
    from bothways.evaluation.judging import judge as ask
    from bothways.inference.decoding.options import JUDGED, GenerationOptions

    room_for(out)
    options = None
    if given or settings or config:
        options = configured(
            GenerationOptions,
            given,
            file=config,
            settings=settings,
            example="judge RUN --prompts FILE",
            before=JUDGED,
        )
    with doing("asking"):
        found = ask(runs, prompts=prompts, judge=by, options=options, device=device)
    if out is not None:
        from bothways.evaluation.judging.page import render

        write_text(out, render(found))
    if json:
        return print_json(found.as_json())
    _show(found)
    if out is not None:
        say(f"\npage  {out}")
    return None


def _show(found: Judgement) -> None:
    from bothways.evaluation.judging.page import warnings_of

    wide = max(len(one.metric) for one in found.scores)
    for one in found.scores:
        ends = "" if math.isnan(one.low) else f" ({one.low:.3f} to {one.high:.3f})"
        said = f"{one.figure:.3f}{ends}  {one.prompts:,} prompts"
        say(f"{one.model:20} {one.metric:{wide}} {said}")
    if found.wins:
        say()
    for two in found.wins:
        said = f"wins {two.rate:.3f} ({two.low:.3f} to {two.high:.3f}), p {two.p:.2g}"
        say(f"{two.one} against {two.other}, by {two.by}: {said}; {two.wins} won, {two.ties} ties, {two.losses} lost")
    if found.judge is not None:
        bias = found.judge
        shares = {"chose the first answer in": bias.first, "agreed with itself in": bias.agreed}
        shares["prefers the reference in"] = bias.reference
        told = ", ".join(f"{what} {share:.0%}" for what, share in shares.items() if share is not None)
        say(f"{bias.name} {told or 'was asked nothing: no two answers differ'}")
        for warning in warnings_of(bias):
            say(warning)
