"""How good is it now? Means over fixed batches, shared out over the processes.

Letters: B rows, T tokens, D width, N targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from bothways.batch import Batch, Losses, Target
from bothways.model import Model
from bothways.training.processes import raise_if_signalled

CHUNK = 1024
NATS_IN_A_BIT = math.log(2)


@dataclass(frozen=True, slots=True)
class Score:
    """Of the targets of one name: mean negative log-likelihood in nats; how often the likeliest token was right."""

    nats: float
    accuracy: float


def bits_per_byte(nats: float, size: float) -> float:
    """The bits that a byte of text costs: `nats` for `size` bytes of it, of all its tokens but [CLS]; [SEP] is paid."""
    return nats / NATS_IN_A_BIT / size


@torch.no_grad()
def evaluate_words(model: Model, batches: Sequence[Batch]) -> dict[str, Score]:
    """Scores of the "words" targets, unweighted, with the softmax in float32.

    `batches` are all of them on every process; each process computes its share.
    """
    sums = _zeros(batches, 3)
    for batch, mine in _share(batches):
        for target, nats, right in answers(model, batch, wanted=mine):
            found = torch.stack([nats.double().sum(), right.double().sum()]).cpu()
            sums[target.name] += torch.cat([found, torch.tensor([len(nats)])])
    return {
        name: Score(nats=float(nats / count), accuracy=float(right / count))
        for name, (nats, right, count) in _over_processes(sums).items()
        if count
    }


@torch.no_grad()
def answers(model: Model, batch: Batch, *, wanted: bool = True) -> Iterator[tuple[Target, Tensor, Tensor]]:
    """For every "words" target of a batch: the nats [N] of its right tokens, and whether each was the likeliest [N].

    The model computes in any case: under FSDP2 all processes compute in step. `wanted` False gives nothing back.
    """
    hidden = model.states(batch).flatten(0, 1)  # [B*T, D]
    for target in batch.targets if wanted else ():
        at, labels = torch.as_tensor(target.at), torch.as_tensor(target.labels)
        nats, right = [], []
        for place, label in zip(at.split(CHUNK), labels.split(CHUNK), strict=True):
            logits = model.logits(hidden[place]).float()  # [n, V]
            nats.append(torch.logsumexp(logits, dim=-1) - logits.gather(1, label[:, None])[:, 0])
            right.append(logits.argmax(-1) == label)
        yield target, torch.cat(nats), torch.cat(right)


@torch.no_grad()
def evaluate_losses(losses: Callable[[Batch], Losses], batches: Sequence[Batch]) -> tuple[float, dict[str, float]]:
    """What is minimised, one weighted mean over all that is predicted, and the means of an objective's own losses."""
    sums = _zeros(batches, 2)
    for batch, mine in _share(batches):
        for name, (total, weight) in losses(batch).items():
            if mine:
                sums[name] += torch.stack([total.double(), weight.double()]).cpu()
    found = {name: (total, count) for name, (total, count) in _over_processes(sums).items() if count}
    whole = sum(total for total, _ in found.values()) / sum(count for _, count in found.values())
    return whole, {name: total / count for name, (total, count) in found.items()}


def _zeros(batches: Sequence[Batch], count: int) -> dict[str, Tensor]:
    """A tensor of zeros for every name of a target, the same names on all processes."""
    return {target.name: torch.zeros(count, dtype=torch.float64) for batch in batches for target in batch.targets}


def _share(batches: Sequence[Batch]) -> Iterator[tuple[Batch, bool]]:
    """This process's batches, as many as any other's (FSDP2 computes in step): False marks one that does not count.

    Raises:
        Signalled: a signal came to any of the processes: none of them goes on.
    """
    rank, count = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    for i in range(rank, -(-len(batches) // count) * count, count):
        raise_if_signalled()
        yield batches[i % len(batches)], i < len(batches)


def _over_processes(sums: dict[str, Tensor]) -> dict[str, list[float]]:
    if dist.is_initialized():
        for name in sorted(sums):
            dist.all_reduce(sums[name])
    return {name: total.tolist() for name, total in sums.items()}
