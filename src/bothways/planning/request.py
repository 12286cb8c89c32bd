"""A request for a plan: the settings of `bothways plan`, checked, and what follows: a run's costs, or what to train."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from bothways.arguments import checked
from bothways.config import Frozen, settled
from bothways.corpus import Shards
from bothways.errors import UsageError
from bothways.frames import data_frame
from bothways.machine import memory
from bothways.model import ModelConfig, preset
from bothways.planning import here
from bothways.planning.advice import SizeChoice, choices
from bothways.planning.costs import AGAIN, Plan, costs
from bothways.planning.devices import HERE, Device, Fleet
from bothways.planning.scale import Experts, Scale, best_parameters, best_tokens
from bothways.terminal import compact, in_bytes
from bothways.training.config import read_budget

if TYPE_CHECKING:
    import pandas

LETTERS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


class PlanConfig(Frozen):
    """The settings of `bothways plan`."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    shards: Path | None = Field(default=None, description="Text that there is: its size and its vocabulary.")
    size: str | None = Field(
        default=None,
        description="tiny, mini, small, base, LAYERSxWIDTH, 96x12288, or with a decoder LAYERS-LAYERSxWIDTH, 6-6x256.",
    )
    parameters: str | None = Field(default=None, description="A number of parameters instead: 175B.")
    tokens: str | None = Field(default=None, description="To train on: 300B; left out: 20 a parameter.")
    time: str | None = Field(default=None, description="That there is: 2h, 30d. Without a size: what to train?")
    hardware: str = Field(
        default=HERE, description="here (this machine, measured), or COUNTxCHIP@UTILISATION: h100, 8xh100@40%."
    )
    price: float | None = Field(default=None, description="Of an hour of one device.")
    objective: str = Field(default="hybrid", description="What is trained.")
    experts: str | None = Field(default=None, description="COUNT/ACTIVE/EVERY layer: 64/1/2.")
    length: int = Field(default=128, ge=8, description="Tokens in a row.")
    vocabulary: int = Field(default=8192, ge=8, description="Tokens, where no shards have one.")
    recompute: bool = Field(default=False, description="Forward passes again, to save memory.")

    @field_validator("parameters", "tokens", "time")
    @classmethod
    def _reads(cls, text: str | None, field: ValidationInfo) -> str | None:
        if text is not None:
            (read_seconds if field.field_name == "time" else read_amount)(text)
        return text

    @property
    def advises(self) -> bool:
        """What to train is wanted, not what it costs."""
        return self.size is None and self.parameters is None

    def check(self) -> None:
        """
        Raises:
            UsageError: it is not known what is wanted, or a setting would change nothing beside the others.
        """
        measured = self.hardware == HERE
        if self.tokens and self.time:
            raise UsageError("give tokens or time, not both")
        if self.size and self.parameters:
            raise UsageError("give size or parameters, not both")
        if self.advises and not self.time:
            raise UsageError("give --size or --parameters to learn what it costs, or --time to learn what to train")
        if self.parameters and self.experts:
            raise UsageError("experts belong to a shape: give --size LAYERSxWIDTH")
        if self.shards is not None:
            self.refuse("shards have a vocabulary of their own: leave out", "vocabulary")
        if self.advises:
            self.refuse("what to train is worked out without", "experts", "recompute")
            self.refuse("this machine has no price: leave out", *["price"] * measured)
        if self.advises and not measured:
            self.refuse("on other machines what to train is worked out without", "objective", "length", "vocabulary")
        if self.parameters:
            self.refuse("a number of parameters is planned without", "objective", "length", "vocabulary")

    def refuse(self, why: str, *ignored: str) -> None:
        """
        Raises:
            UsageError: one of these settings was given.
        """
        if given := [name for name in ignored if name in self.model_fields_set]:
            raise UsageError(f"{why} {', '.join(given)}")


@dataclass(frozen=True, slots=True, repr=False)
class Advice:
    """What to train in a time.

    choices  on this machine: sizes, the most promising first
    flops, parameters, tokens  on others: what they compute in the time, and Chinchilla's numbers for it
    unique   tokens of text that there are; None: not known
    """

    choices: tuple[SizeChoice, ...] = ()
    flops: float | None = None
    parameters: float | None = None
    tokens: float | None = None
    unique: float | None = None

    def __repr__(self) -> str:
        if self.choices:
            return f"Advice({', '.join(one.size for one in self.choices[:3])}, ... of {len(self.choices)} sizes)"
        assert self.parameters is not None and self.tokens is not None
        return f"Advice({compact(self.parameters)} parameters, {compact(self.tokens)} tokens)"

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each choice: size, parameters, tokens, loss (expected, nats a token).

        Raises:
            MachineError: pandas is not installed.
        """
        return data_frame(self.choices)


@settled(PlanConfig)
@checked
def plan(config: PlanConfig) -> Plan | Advice:
    """What a run costs, or without a size what to train: plan(size="small", tokens="2B"), plan(time="2h").

    Raises:
        UsageError: as `PlanConfig.check`, or what `here.pace` refuses.
    """
    return advise(config) if config.advises else estimate(config)[0]


def estimate(request: PlanConfig) -> tuple[Plan, Fleet, float]:
    """What a run costs, what it runs on, and how many tokens of text there are (infinity: not known).

    Raises:
        UsageError: as `PlanConfig.check`, or what `here.pace` refuses.
    """
    request.check()
    vocabulary, unique = _text(request)
    shape = preset(request.size, vocabulary=vocabulary, length=request.length) if request.size else None
    scale = _scale(request, shape)
    work = 6 * scale.active
    if shape is not None:
        work = here.work_of(shape, request.objective, length=request.length) + 6 * scale.extra
    fleet = _this_machine(request, shape, scale) if request.hardware == HERE else Fleet.read(request.hardware)
    fleet = fleet.at(request.price)
    amount = read_amount(request.tokens) if request.tokens else best_tokens(scale.active)
    if request.time:
        amount = read_seconds(request.time) * fleet.speed / (work * (AGAIN if request.recompute else 1))
    return costs(scale, amount, fleet, flops=work, recompute=request.recompute), fleet, unique


def advise(request: PlanConfig) -> Advice:
    """What to train in the time: one of our sizes on this machine, a number of parameters on others.

    Raises:
        UsageError: as `PlanConfig.check`.
    """
    request.check()
    assert request.time is not None
    vocabulary, unique = _text(request)
    seconds, there = read_seconds(request.time), None if math.isinf(unique) else unique
    if request.hardware != HERE:
        flops = seconds * Fleet.read(request.hardware).speed
        parameters = best_parameters(flops)
        return Advice(flops=flops, parameters=parameters, tokens=best_tokens(parameters), unique=there)
    speed = here.speed_here(request.objective, vocabulary=vocabulary, length=request.length)
    found = choices(seconds, speed, vocabulary=vocabulary, length=request.length, unique=unique)
    return Advice(tuple(found), unique=there)


def read_amount(text: str) -> float:
    """ "175B", "1.5e9".

    Raises:
        ValueError: it is no number above 0.
    """
    plain = text.strip().upper()
    times = LETTERS.get(plain[-1:], 1.0)
    try:
        amount = float(plain if times == 1 else plain[:-1]) * times
    except ValueError:
        amount = math.nan
    if not (math.isfinite(amount) and amount > 0):
        raise ValueError("expected a number above 0, as 175B or 1.5e9")
    return amount


def read_seconds(text: str) -> float:
    """ "2h", "30d".

    Raises:
        ValueError: it is no time.
    """
    try:
        return read_budget(text)["seconds"]
    except (KeyError, UsageError):
        raise ValueError("expected 300s, 40min, 2h or 30d") from None


def _text(request: PlanConfig) -> tuple[int, float]:
    """The size of the vocabulary, and how many tokens there are to train on."""
    if request.shards is None:
        return request.vocabulary, math.inf
    text = Shards.open(request.shards)
    return text.vocabulary.size, float(text.manifest.train.token_count)


def _scale(request: PlanConfig, shape: ModelConfig | None) -> Scale:
    if shape is None:
        assert request.parameters is not None
        return Scale.of_count(read_amount(request.parameters))
    parts = request.experts.split("/") if request.experts else []
    if len(parts) > 3 or not all(part.isdecimal() for part in parts):
        raise UsageError(f"experts: expected COUNT/ACTIVE/EVERY, as 64/1/2; got {request.experts!r}")
    return Scale.of_shape(shape, Experts(*map(int, parts)) if parts else None)


def _this_machine(request: PlanConfig, shape: ModelConfig | None, scale: Scale) -> Fleet:
    """This machine, at the speed at which it trains this very shape."""
    if shape is None:
        raise UsageError("this machine cannot try a number of parameters: give --size LAYERSxWIDTH, or --hardware")
    if scale.state() > memory():
        raise UsageError(
            f"this machine cannot try it: training takes {in_bytes(scale.state())} and there are "
            f"{in_bytes(memory())}; give --hardware"
        )
    training = here.training_for(shape, size=request.size or "", length=request.length)
    found = here.pace(shape, training, objective=request.objective, seconds=here.SECONDS)
    reached = found.utilisation * found.peak
    peak = max(found.peak, reached)  # measured in half a second, which others may have disturbed
    return Fleet(Device("this machine", peak, memory()), utilisation=reached / peak)
