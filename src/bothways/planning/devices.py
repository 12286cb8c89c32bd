"""What a run may stand on: accelerators as their makers describe them, and how many work together.

Peaks are those of dense 16-bit products; data sheets also print twice as much, for matrices half of zeros. Watts are
the most that GPUs may take (NVIDIA's data sheets; the boards with NVLink where there are any), and the mean that was
measured of TPUs (Google's Cloud TPU documentation).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from bothways.arguments import checked
from bothways.errors import UsageError, unknown

GIB = 2**30
HERE = "here"
EXPRESSION = re.compile(r"(?:(\d+)x)?([\w-]+)(?:@(\d+(?:\.\d+)?)%)?")
USUAL = 0.4
"""The share of the peak that large runs reach: 0.20 (GPT-3) to 0.57 (LaMDA), see `published`."""


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator, or one machine.

    peak    floating-point operations a second
    memory  bytes
    watts   while it works; None: unknown
    """

    name: str
    peak: float
    memory: float
    watts: float | None = None


DEVICES = {
    one.name: one
    for one in (
        Device("v100", 125e12, 32 * GIB, 300),
        Device("t4", 65e12, 16 * GIB, 70),
        Device("a100-40", 312e12, 40 * GIB, 400),
        Device("a100", 312e12, 80 * GIB, 400),
        Device("h100", 989e12, 80 * GIB, 700),
        Device("tpu-v3", 123e12, 32 * GIB, 220),
        Device("tpu-v4", 275e12, 32 * GIB, 170),
    )
}


@dataclass(frozen=True, slots=True)
class Fleet:
    """Devices that share a run.

    utilisation  share of their peak that goes into the model's own arithmetic
    overhead     watts that a data centre takes for each that a device does (PUE)
    price        of an hour of one device, in any money
    """

    device: Device
    count: int = 1
    utilisation: float = USUAL
    overhead: float = 1.1
    price: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("devices", self.count), ("peak", self.device.peak), ("memory", self.device.memory)):
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name}: expected more than 0, got {value:g}")
        if not 0 < self.utilisation <= 1:
            raise UsageError(f"utilisation is a share of the peak, above 0 and at most 1; got {self.utilisation:g}")
        if self.overhead < 1:
            raise UsageError(
                f"a data centre takes at least what its devices take: overhead >= 1, got {self.overhead:g}"
            )
        if self.price is not None and not 0 <= self.price < math.inf:
            raise UsageError(f"a price is a number of 0 or more, got {self.price:g}")

    @classmethod
    def read(cls, text: str) -> Fleet:
        """COUNTxCHIP@UTILISATION: "h100", "8xh100", "8xh100@40%".

        Raises:
            UsageError: it is none, or a chip that is not in the table.
        """
        found = EXPRESSION.fullmatch(text.strip().lower())
        if found is None:
            raise UsageError(f"hardware: expected here, or COUNTxCHIP@UTILISATION, as h100 or 8xh100@40%; got {text!r}")
        count, chip, percent = found.groups()
        if chip not in DEVICES:
            raise unknown("hardware", chip, [HERE, *DEVICES])
        return cls(DEVICES[chip], int(count or 1), USUAL if percent is None else float(percent) / 100)

    def at(self, price: float | None) -> Fleet:
        """The same, at a price of an hour of one device."""
        return replace(self, price=price)

    @property
    def speed(self) -> float:
        """Floating-point operations a second of all of them that serve the model."""
        return self.count * self.device.peak * self.utilisation

    def hours(self, flops: float) -> float:
        """Of one device: what is paid for."""
        return self.count * flops / self.speed / 3600

    def kilowatt_hours(self, flops: float) -> float | None:
        """Of so many FLOPs, the data centre's overhead included; None: the device's power is not known."""
        watts = self.device.watts
        return None if watts is None else self.hours(flops) * watts * self.overhead / 1000

    def money(self, flops: float) -> float | None:
        """What so many FLOPs cost; None: no price is known."""
        return None if self.price is None else self.hours(flops) * self.price


@checked
def device(name: str) -> Device:
    """
    Raises:
        UsageError: it is not in the table.
    """
    if name not in DEVICES:
        raise unknown("device", name, DEVICES)
    return DEVICES[name]
