"""One process or many: the same command under torchrun."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from bothways.errors import UsageError
from bothways.machine import device_of
from bothways.reading import parse_json
from bothways.stopping import Signalled, came, exposed, is_shielded

TIMEOUT = timedelta(minutes=10)
T = TypeVar("T")


def raise_if_signalled(told: int | None = None) -> None:
    """Every process calls it, as often as any other, before what all of them do together.

    Args:
        told: the number of the signal that this one was told by; left out, the one that came, if any.

    Raises:
        Signalled: a signal came to any of them: on all.
    """
    number = came() if told is None else int(told)
    if dist.is_initialized():
        numbers = torch.tensor([number])
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX)
        number = int(numbers)
    if number:
        raise Signalled(number)


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

    @property
    def options(self) -> list[object]:
        """What a command has to be given to run as as many."""
        return ["--processes", self.count] if self.count > 1 else []

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

    def once(self, work: Callable[[], object]) -> None:
        """The first process does it; all go on when it is done."""
        if self.first:
            work()
        self.wait()

    def own(self, work: Callable[[], T]) -> T:
        """What `work` gives, which asks no other process. Between steps, where a signal is only remembered, it ends the
        work of all processes.

        Raises:
            Signalled: on all of them.
        """
        if not is_shielded():
            return work()
        with suppress(Signalled), exposed():
            found = work()
        raise_if_signalled()  # always, where the work was interrupted
        return found

    def shared(self, items: Sequence[T], work: Callable[[Sequence[T]], list[Any]]) -> list[Any]:
        """What `work` makes of all items, one of each, in their order: a process does every `count`th of them.

        With several processes it comes back as JSON has it, so that nothing is unpickled: an array is a list.
        """
        if self.count == 1:
            return self.own(lambda: work(items))
        own = json.dumps(self.own(lambda: work(items[self.rank :: self.count])), default=_listed).encode()
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        dist.all_gather(sizes, torch.tensor([len(own)]))
        padded = np.frombuffer(own.ljust(max(int(size) for size in sizes)), dtype=np.uint8).copy()
        texts = [torch.zeros(len(padded), dtype=torch.uint8) for _ in sizes]
        dist.all_gather(texts, torch.from_numpy(padded))
        found: list[Any] = [None] * len(items)
        for rank, text in enumerate(texts):
            found[rank :: self.count] = parse_json(text.numpy().tobytes())
        return found

    def _reduce(self, value: float, how: dist.ReduceOp.RedOpType) -> float:
        if self.count == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=how)
        return float(tensor[0])


def _listed(value: Any) -> Any:
    """An array, or a number of numpy's, as JSON can hold it.

    Raises:
        UsageError: what else a task of the user's own predicts.
    """
    if not isinstance(value, np.ndarray | np.generic):
        raise UsageError(f"expected predictions that a JSON file can hold, as texts and lists, got {value!r:.60}")
    return value.tolist()


@contextmanager
def processes(*, device: torch.device | str | None = None) -> Iterator[Processes]:
    """Joins the other processes if torchrun started this one. gloo on CPUs, nccl between GPUs (never run there).

    Those that have joined already stay together: what runs several times, a seed each, joins around all of them.

    Args:
        device: where to compute; a GPU without a number is the process's own, that of its LOCAL_RANK.

    Raises:
        UsageError: no device, or one GPU for several processes.
        MachineError: there is no such device.
    """
    place = device_of(device)
    if dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size(), place)
        return
    alone = "RANK" not in os.environ or "WORLD_SIZE" not in os.environ
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
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), place)
    finally:
        dist.destroy_process_group()
