"""A run before it starts: what it will compute, how long, what it costs, and what must be held."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from bothways.arguments import checked
from bothways.errors import UsageError
from bothways.planning.devices import Fleet
from bothways.planning.scale import Scale, best_tokens
from bothways.terminal import compact

AGAIN = 4 / 3
"""Times the arithmetic of a run that does the forward pass again on the way back."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run needs; bytes are those of one device, None is what cannot be known.

    flops            that the model needs: counted from its shape, or 6ND
    rule             6ND
    done             FLOPs that the hardware does: a third more where the forward pass is done again
    seconds          by the clock
    device_hours     what is paid for
    kilowatt_hours   with the data centre's overhead
    replicated       weights, gradients, optimiser and activations on every device
    sharded          the same with the first three dealt out
    recomputed       dealt out, and activations made again on the way back
    fits             which of these three the device holds
    best_tokens      Chinchilla's number for the active weights
    """

    parameters: float
    active: float
    tokens: float
    best_tokens: float
    flops: float
    rule: float
    done: float
    seconds: float
    device_hours: float
    kilowatt_hours: float | None
    money: float | None
    replicated: float | None
    sharded: float | None
    recomputed: float | None
    fits: tuple[str, ...]
    checkpoint: float
    checkpoint_to_go_on: float

    def __repr__(self) -> str:
        parameters, tokens = (compact(count).replace("G", "B") for count in (self.parameters, self.tokens))
        what = f"{parameters} parameters, {tokens} tokens, {self.flops:.3g} FLOPs"
        return f"Plan({what}, about {timedelta(seconds=round(self.seconds))})"


@checked
def costs(
    scale: Scale,
    tokens: float,
    fleet: Fleet,
    *,
    flops: float | None = None,
    micro_tokens: int = 4096,
    recompute: bool = False,
) -> Plan:
    """What training on so many tokens needs on these devices.

    Args:
        flops: of training on one token; left out, 6N.
        micro_tokens: that a device holds at once.
        recompute: the forward pass is done again on the way back.

    Raises:
        UsageError: a number of tokens that cannot be.
    """
    if not (math.isfinite(tokens) and tokens > 0):
        raise UsageError(f"tokens: expected more than 0, got {tokens:g}")
    rule = scale.rule(tokens)
    needed = rule if flops is None else flops * tokens
    done = needed * AGAIN if recompute else needed
    kept, again = scale.activations(micro_tokens), scale.activations(micro_tokens, recompute=True)
    held = {
        "replicated": _sum(scale.state(), kept),
        "sharded": _sum(scale.state(fleet.count, sharded=True), kept),
        "recomputed": _sum(scale.state(fleet.count, sharded=True), again),
    }
    return Plan(
        parameters=scale.parameters,
        active=scale.active,
        tokens=tokens,
        best_tokens=best_tokens(scale.active),
        flops=needed,
        rule=rule,
        done=done,
        seconds=done / fleet.speed,
        device_hours=fleet.hours(done),
        kilowatt_hours=fleet.kilowatt_hours(done),
        money=fleet.money(done),
        fits=tuple(name for name, size in held.items() if size is not None and size <= fleet.device.memory),
        checkpoint=scale.checkpoint(),
        checkpoint_to_go_on=scale.checkpoint(to_go_on=True),
        **held,
    )


def _sum(state: float, activations: float | None) -> float | None:
    return None if activations is None else state + activations
