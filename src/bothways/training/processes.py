"""One process or many: the same command under torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from bothways.errors import UsageError
from bothways.machine import device_of


@dataclass(frozen=True, slots=True)
class Processes:
    """This process's number, how many there are, and where it computes."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def total(self, value: float) -> float:
        """The sum over all processes."""
        return self._reduce(value, dist.ReduceOp.SUM)

    def most(self, value: float) -> float:
        """The largest over all processes."""
        return self._reduce(value, dist.ReduceOp.MAX)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def _reduce(self, value: float, how: dist.ReduceOp.RedOpType) -> float:
        if self.count == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=how)
        return float(tensor[0])


@contextmanager
def processes(
    timeout: timedelta = timedelta(minutes=10), *, device: torch.device | str | None = None
) -> Iterator[Processes]:
    """Joins the other processes if torchrun started this one. gloo on CPUs, nccl between GPUs (never run there).

    Args:
        device: where to compute; a GPU without a number is the process's own, that of its LOCAL_RANK.

    Raises:
        UsageError: no device, or one GPU for several processes.
        MachineError: there is no such device.
    """
    alone = "RANK" not in os.environ or "WORLD_SIZE" not in os.environ
    place = device_of(device)
    numbered: int | None = place.index
    cuda = place.type == "cuda"
    if cuda and numbered is not None and not alone and os.environ["WORLD_SIZE"] != "1":
        raise UsageError(f"each of several processes has a GPU of its own: expected device 'cuda', got {str(place)!r}")
    if cuda:
        place = device_of(place if numbered is not None else f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
        torch.cuda.set_device(place)
    if alone:
        yield Processes(0, 1, place)
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=timeout)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), place)
    finally:
        dist.destroy_process_group()
