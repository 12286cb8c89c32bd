"""`bothways plan`: before a run starts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bothways.cli.show import Json, load_torch, options_given, print_json
from bothways.terminal import command, doing, draw, say

if TYPE_CHECKING:
    from bothways.model import ModelConfig
    from bothways.planning import Experts, Fleet, Plan, Scale

HERE = "here"
MEASURED = "this machine is measured as it is: without --hardware there is no"
SHOWN = 6  # choices


def plan(
    context: typer.Context,
    shards: Annotated[Path | None, typer.Argument(help="Text that there is: its size and its vocabulary.")] = None,
    size: Annotated[str | None, typer.Option(help="tiny, mini, small, base, or LAYERSxWIDTH: 96x12288.")] = None,
    parameters: Annotated[str | None, typer.Option(help="A number of weights instead: 175B.")] = None,
    experts: Annotated[str | None, typer.Option(help="COUNT/ACTIVE/EVERY layer: 64/1/2.")] = None,
    tokens: Annotated[str | None, typer.Option(help="To train on: 300B.  [default: 20 a weight]")] = None,
    time: Annotated[str | None, typer.Option(help="That there is: 2h, 30d. Without a size: what to train?")] = None,
    hardware: Annotated[str, typer.Option(help="here (this machine, measured), or v100, a100, h100 ...")] = HERE,
    devices: Annotated[int, typer.Option(help="How many of them.")] = 1,
    utilisation: Annotated[float | None, typer.Option(help="Share of their peak.  [default: 0.4]")] = None,
    price: Annotated[float | None, typer.Option(help="Of an hour of one device.")] = None,
    objective: Annotated[str, typer.Option(help="What is trained.")] = "hybrid",
    length: Annotated[int, typer.Option(min=8, help="Tokens in a row.")] = 128,
    vocabulary: Annotated[int, typer.Option(min=8, help="Tokens, where no shards say.")] = 8192,
    recompute: Annotated[bool, typer.Option("--recompute", help="Forward passes again, to save memory.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Work published figures out again: which disagree?")] = False,
    json: Json = False,
) -> None:
    """What will a run cost, before it starts, and what should I train with what I have?"""
    load_torch()
    from bothways.errors import UsageError
    from bothways.planning import AGAIN, best_tokens
    from bothways.planning import plan as planned

    named = options_given(context)
    if check:
        _refuse("published figures are worked out without", named, *(named.keys() - {"check", "json"}))
        return _show_check(json=json)
    _refuse_ignored(named, here=hardware == HERE)
    unique = math.inf
    if shards is not None:
        vocabulary, unique = _text(shards)
    if tokens and time:
        raise UsageError("say --tokens or --time, not both")
    seconds = _seconds(time) if time else None
    amount = _amount(tokens, "tokens") if tokens else None
    if size is None and parameters is None:
        if time is None or seconds is None:
            raise UsageError("say --size or --parameters to learn what it costs, or --time to learn what to train")
        fleet = None if hardware == HERE else _fleet(hardware, devices, utilisation, price)
        told = _advice(seconds, fleet, objective, vocabulary=vocabulary, length=length, unique=unique)
        if json:
            return print_json(told)
        how = ["--objective", objective, "--set", f"training.length={length}", "--budget", time]
        return _show_advice(told, time, [shards or "SHARDS", "--out", "runs/first", *how])
    shape, scale = _scale(size, parameters, experts, vocabulary=vocabulary, length=length)
    work = _work(shape, scale, objective, length=length)
    if hardware == HERE:
        fleet = _here(shape, scale, objective, size=size or "", length=length, price=price)
    else:
        fleet = _fleet(hardware, devices, utilisation, price)
    if seconds:
        amount = seconds * fleet.speed / (work * (AGAIN if recompute else 1))
    found = planned(scale, amount or best_tokens(scale.active), fleet, flops=work, recompute=recompute)
    return print_json(asdict(found)) if json else _show(found, fleet, unique)


def _refuse_ignored(named: Mapping[str, str], *, here: bool) -> None:
    """
    Raises:
        UsageError: an option that would change nothing beside the others.
    """
    asked = not {"size", "parameters"} & named.keys()  # what to train
    if "shards" in named:
        _refuse("shards have a vocabulary of their own: leave out", named, "vocabulary")
    if here:
        _refuse(MEASURED, named, "devices", "utilisation", *(["price"] if asked else []))
    if asked:
        _refuse("what to train is asked without", named, "experts", "recompute")
    if asked and not here:
        _refuse("on other machines what to train is worked out without", named, "objective", "length", "vocabulary")
    if "parameters" in named:
        _refuse("a number of weights is planned without", named, "objective", "length", "vocabulary")


def _refuse(why: str, named: Mapping[str, str], *ignored: str) -> None:
    from bothways.errors import UsageError

    if said := [named[name] for name in ignored if name in named]:
        raise UsageError(f"{why} {', '.join(said)}")


def _text(shards: Path) -> tuple[int, float]:
    """The size of the vocabulary, and how many tokens there are to train on."""
    from bothways.corpus import Shards

    text = Shards.open(shards)
    return text.vocabulary.size, float(text.manifest.train.token_count)


def _amount(text: str, option: str) -> float:
    """ "175B", "1.5e9"."""
    from bothways.errors import UsageError

    letters = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
    plain = text.strip().upper()
    times = letters.get(plain[-1:], 1.0)
    try:
        amount = float(plain if times == 1 else plain[:-1]) * times
    except ValueError:
        amount = math.nan
    if not (math.isfinite(amount) and amount > 0):
        raise UsageError(f"--{option}: expected a number above 0, as 175B or 1.5e9; got {text!r}")
    return amount


def _seconds(text: str) -> float:
    from bothways.errors import UsageError
    from bothways.training.config import read_budget

    try:
        return read_budget(text)["seconds"]
    except (KeyError, UsageError):
        raise UsageError(f"--time expects 300s, 40min, 2h or 30d; got {text!r}") from None


def _scale(
    size: str | None, parameters: str | None, experts: str | None, *, vocabulary: int, length: int
) -> tuple[ModelConfig | None, Scale]:
    from bothways.errors import UsageError
    from bothways.model import preset
    from bothways.planning import Scale

    if size is None:
        if experts:
            raise UsageError("--experts belongs to a shape: say --size LAYERSxWIDTH")
        assert parameters is not None
        return None, Scale.of_count(_amount(parameters, "parameters"))
    if parameters is not None:
        raise UsageError("say --size or --parameters, not both")
    shape = preset(size, vocabulary=vocabulary, length=length)
    return shape, Scale.of_shape(shape, _experts(experts) if experts else None)


def _experts(text: str) -> Experts:
    from bothways.errors import UsageError
    from bothways.planning import Experts

    parts = text.split("/")
    if not (1 <= len(parts) <= 3 and all(part.isdecimal() for part in parts)):
        raise UsageError(f"--experts expects COUNT/ACTIVE/EVERY, as 64/1/2; got {text!r}")
    return Experts(*map(int, parts))


def _work(shape: ModelConfig | None, scale: Scale, objective: str, *, length: int) -> float:
    """FLOPs of training on one token."""
    from bothways.planning.here import work_of

    return 6 * scale.active if shape is None else work_of(shape, objective, length=length) + 6 * scale.extra


def _fleet(hardware: str, devices: int, utilisation: float | None, price: float | None) -> Fleet:
    from bothways.errors import unknown
    from bothways.planning import Fleet, device
    from bothways.planning.devices import DEVICES, USUAL

    if hardware not in DEVICES:
        raise unknown("hardware", hardware, [HERE, *DEVICES])
    return Fleet(device(hardware), devices, USUAL if utilisation is None else utilisation, price=price)


def _here(
    shape: ModelConfig | None, scale: Scale, objective: str, *, size: str, length: int, price: float | None
) -> Fleet:
    """This machine, at the speed at which it trains this very shape."""
    from bothways.errors import UsageError
    from bothways.machine import memory
    from bothways.planning import Device, Fleet, here

    if shape is None:
        raise UsageError("this machine cannot try a number of weights: say --size LAYERSxWIDTH, or --hardware")
    if scale.state() > memory():
        raise UsageError(
            f"this machine cannot try it: training takes {_bytes(scale.state())} and there are {_bytes(memory())}; "
            "say --hardware"
        )
    with doing("measuring this machine"):
        training = here.training_for(shape, size=size, length=length)
        found = here.pace(shape, training, objective=objective, seconds=here.SECONDS)
    reached = found.utilisation * found.peak
    peak = max(found.peak, reached)  # measured in half a second, which others may have disturbed
    return Fleet(Device("this machine", peak, memory()), utilisation=reached / peak, price=price)


def _advice(
    seconds: float, fleet: Fleet | None, objective: str, *, vocabulary: int, length: int, unique: float
) -> dict[str, Any]:
    """What to train in the time: one of our sizes on this machine, a number of weights on others."""
    from bothways.planning import best_parameters, best_tokens
    from bothways.planning.advice import choices
    from bothways.planning.here import speed_here

    there = None if math.isinf(unique) else unique
    if fleet is not None:
        weights = best_parameters(seconds * fleet.speed)
        return {"flops": seconds * fleet.speed, "parameters": weights, "tokens": best_tokens(weights), "unique": there}
    with doing("measuring this machine"):
        speed = speed_here(objective, vocabulary=vocabulary, length=length)
    found = choices(seconds, speed, vocabulary=vocabulary, length=length, unique=unique)
    return {"choices": [asdict(one) for one in found], "unique": there}


def _show(told: Plan, fleet: Fleet, unique: float) -> None:
    active = "" if told.active == told.parameters else f", {_count(told.active)} of them for a token"
    epochs = "" if math.isinf(unique) else f", {told.tokens / unique:.3g} epochs"
    again = "" if told.done == told.flops else f"; done {told.done:.3g}, with forward passes again"
    device = fleet.device
    held = {"replicated": told.replicated, "sharded": told.sharded, "recomputed": told.recomputed}
    rows = {
        "weights": f"{_count(told.parameters)}{active}",
        "tokens": f"{_count(told.tokens)}, {told.tokens / told.active:.3g} a weight "
        f"(Chinchilla: {_count(told.best_tokens)}){epochs}",
        "FLOPs": f"{told.flops:.3g}; by the rule 6ND {told.rule:.3g}{again}",
        "on": f"{fleet.count} x {device.name}, {device.peak / 1e12:.4g} TFLOPS, at {fleet.utilisation:.0%} of it",
        "time": f"{_long(told.seconds)}, {told.device_hours:,.3g} device-hours",
        "energy": "unknown" if told.kilowatt_hours is None else f"{told.kilowatt_hours:,.3g} kWh",
        "money": "unknown: say --price" if told.money is None else f"{told.money:,.0f}",
        **{f"memory, {name}": _held(size, name in told.fits) for name, size in held.items()},
        "checkpoint": f"{_bytes(told.checkpoint)} in 16 bits",
        "to go on from": f"{_bytes(told.checkpoint_to_go_on)}, in 32 bits with AdamW's moments",
    }
    _grid(rows)


def _held(size: float | None, fits: bool) -> str:
    return "unknown without a shape" if size is None else f"{_bytes(size)} on each, {'fits' if fits else 'too much'}"


def _count(number: float) -> str:
    """175B: as models are spoken of."""
    from bothways.terminal import compact

    return compact(number).replace("G", "B")


def _show_advice(told: dict[str, Any], time: str, how: Sequence[object]) -> None:
    there = "" if not told["unique"] else f"; there are {_count(told['unique'])}"
    if "choices" not in told:
        return _grid(
            {
                "FLOPs": f"{told['flops']:.3g} in {time}",
                "weights": f"{_count(told['parameters'])}, as Chinchilla has it",
                "tokens": f"{_count(told['tokens'])}{there}",
            }
        )
    rows = [("size", "weights", "tokens", "a weight", "expected loss")]
    for one in told["choices"][:SHOWN]:
        parameters, tokens = one["parameters"], one["tokens"]
        rows.append(
            (one["size"], _count(parameters), _count(tokens), f"{tokens / parameters:.3g}", f"{one['loss']:.2f}")
        )
    for row in rows:
        say("".join(f"{cell:>14}" for cell in row))
    say(f"\nNext: {command('pretrain', *how, '--size', told['choices'][0]['size'])}")
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
        if one.says:
            say(f"             {one.says} ({one.source})")
    if changed := sum(not one.holds for one in found):
        say(f"\n{changed} figures are not what is written beside them", error=True)
        raise typer.Exit(1)
    if not json:
        apart = sum(not one.agrees for one in found)
        say(f"\n{len(found)} figures come out as expected; {apart} of them contradict what was published.")


def _grid(rows: dict[str, str]) -> None:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(name, value)
    draw(table, wrap=True)


def _long(seconds: float) -> str:
    if seconds < 2 * 86400:
        return f"about {timedelta(seconds=round(seconds))}"
    days = seconds / 86400
    return f"about {days:,.1f} days" if days < 730 else f"about {days / 365:,.1f} years"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.3g} {unit}"
