"""`bothways plan`: before a run starts."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bothways.cli.options import ConfigFile, Settings, configured, from_record
from bothways.cli.show import Json, grid, load_torch, print_json
from bothways.terminal import command, compact, doing, in_bytes, say

if TYPE_CHECKING:
    from bothways.planning import Advice, Fleet, Plan, PlanConfig

SHOWN = 6  # choices


@from_record(
    "bothways.planning:PlanConfig",
    *("size", "parameters", "tokens", "time", "hardware", "price", "objective"),
    shards="",
)
def plan(
    context: typer.Context,
    *,
    settings: Settings,
    config: ConfigFile = None,
    check: Annotated[bool, typer.Option("--check", help="Work published figures out again: which disagree?")] = False,
    json: Json = False,
    **given: Any,
) -> None:
    """What will a run cost, before it starts, and what should I train with what I have?"""
    load_torch()
    from bothways.planning import Advice, PlanConfig, advise, estimate

    chosen = configured(PlanConfig, given, file=config, settings=settings, example="plan --time 2h")
    if check:
        chosen.refuse("published figures are worked out without", *PlanConfig.model_fields)
        return _show_check(json=json)
    with doing("measuring this machine"):
        found = advise(chosen) if chosen.advises else estimate(chosen)
    if isinstance(found, Advice):
        return print_json(found) if json else _show_advice(found, chosen)
    costs, fleet, unique = found
    return print_json(costs) if json else _show(costs, fleet, unique)


def _show(told: Plan, fleet: Fleet, unique: float) -> None:
    active = "" if told.active == told.parameters else f", {_count(told.active)} of them for a token"
    epochs = "" if math.isinf(unique) else f", {told.tokens / unique:.3g} epochs"
    again = "" if told.done == told.flops else f"; done {told.done:.3g}, with forward passes again"
    device = fleet.device
    held = {"replicated": told.replicated, "sharded": told.sharded, "recomputed": told.recomputed}
    rows = {
        "parameters": f"{_count(told.parameters)}{active}",
        "tokens": f"{_count(told.tokens)}, {told.tokens / told.active:.3g} a parameter "
        f"(Chinchilla: {_count(told.best_tokens)}){epochs}",
        "FLOPs": f"{told.flops:.3g}; by the rule 6ND {told.rule:.3g}{again}",
        "on": f"{fleet.count} x {device.name}, {device.peak / 1e12:.4g} TFLOPS, at {fleet.utilisation:.0%} of it",
        "time": f"{_long(told.seconds)}, {told.device_hours:,.3g} device-hours",
        "energy": "unknown" if told.kilowatt_hours is None else f"{told.kilowatt_hours:,.3g} kWh",
        "money": "unknown: give --price" if told.money is None else f"{told.money:,.0f}",
        **{f"memory, {name}": _held(size, name in told.fits) for name, size in held.items()},
        "checkpoint": f"{in_bytes(told.checkpoint)} in 16 bits",
        "to go on from": f"{in_bytes(told.checkpoint_to_go_on)}, in 32 bits with AdamW's moments",
    }
    grid(rows)


def _held(size: float | None, fits: bool) -> str:
    return "unknown without a shape" if size is None else f"{in_bytes(size)} on each, {'fits' if fits else 'too much'}"


def _count(number: float) -> str:
    """175B: as models are spoken of."""
    return compact(number).replace("G", "B")


def _show_advice(told: Advice, chosen: PlanConfig) -> None:
    there = "" if not told.unique else f"; there are {_count(told.unique)}"
    if not told.choices:
        assert told.flops is not None and told.parameters is not None and told.tokens is not None
        return grid(
            {
                "FLOPs": f"{told.flops:.3g} in {chosen.time}",
                "parameters": f"{_count(told.parameters)}, as Chinchilla has it",
                "tokens": f"{_count(told.tokens)}{there}",
            }
        )
    rows = [("size", "parameters", "tokens", "a parameter", "expected loss")]
    for one in told.choices[:SHOWN]:
        share = f"{one.tokens / one.parameters:.3g}"
        rows.append((one.size, _count(one.parameters), _count(one.tokens), share, f"{one.loss:.2f}"))
    for row in rows:
        say("".join(f"{cell:>14}" for cell in row))
    how = ["--objective", chosen.objective, "--set", f"training.length={chosen.length}", "--budget", chosen.time]
    best = told.choices[0].size
    say(f"\nNext: {command('pretrain', chosen.shards or 'SHARDS', '--out', 'runs/first', *how, '--size', best)}")
    return None


def _show_check(*, json: bool) -> None:
    """Exits with 1 if a figure is not what is written beside it."""
    from bothways.planning.published import claims

    found, model = claims(), ""
    if json:
        print_json([asdict(one) | {"holds": one.holds} for one in found])
    for one in () if json else found:
        if one.of != model:
            model = one.of
            say(f"\n{model}")
        verdict = ("agrees" if one.agrees else "DISAGREES") if one.holds else "CHANGED"
        say(f"  {verdict:9}  {one.what}: {one.worked_out:.4g}, published {one.published:.4g} {one.unit}".rstrip())
        if one.note:
            say(f"             {one.note} ({one.source})")
    if changed := sum(not one.holds for one in found):
        say(f"\n{changed} figures are not what is written beside them", error=True)
        raise typer.Exit(1)
    if not json:
        apart = sum(not one.agrees for one in found)
        say(f"\n{len(found)} figures come out as expected; {apart} of them contradict what was published.")


def _long(seconds: float) -> str:
    if seconds < 2 * 86400:
        return f"about {timedelta(seconds=round(seconds))}"
    days = seconds / 86400
    return f"about {days:,.1f} days" if days < 730 else f"about {days / 365:,.1f} years"
