"""The loop: batches in, reports out. Whoever runs it evaluates, saves and stops between two reports."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from bothways.batch import Batch, Losses
from bothways.errors import DivergedError
from bothways.machine import keep_freed_memory
from bothways.model import Model
from bothways.stopping import Signalled, came
from bothways.training.config import TrainingConfig
from bothways.training.processes import raise_if_signalled
from bothways.training.schedule import learning_rate
from bothways.training.spikes import spike
from bothways.training.splitting import fitting_in_memory
from bothways.training.state import State

SKIPPED_IN_A_ROW = 5


@dataclass(frozen=True, slots=True)
class Report:
    """One step: losses are means in nats over all processes; `loss` is what was minimised, `tokens` what was read so
    far, `padding` the share of this process's places that hold no text.

    skipped  steps so far whose loss or gradient was not finite
    spikes   steps so far whose loss was far above those before them
    spike    of such a step, the limit that its loss is above (`spikes`)
    pieces   that each micro-batch was read in, to fit into memory (`splitting`)
    """

    step: int
    tokens: int
    loss: float
    losses: dict[str, float]
    learning_rate: float
    gradient_norm: float
    skipped: int
    spikes: int
    spike: float | None
    pieces: int
    padding: float


@dataclass(frozen=True, slots=True)
class LoopInputs:
    """What the loop is given: the loss of a batch, and this process's batches of a step.

    batches  (step, progress) -> micro-batches; the same rows whatever the number of processes
    names    of the losses, the same on every process
    count    (step) -> what the summed loss of a step is divided by; None: what its targets weigh
    tokens   places of a step, padding too; None: the tokens of its batches are counted
    turns    the progress at which the loss becomes another: optimisers forget what they remember of the old one
    """

    losses: Callable[[Batch, torch.Generator], Losses]
    batches: Callable[[int, float], Sequence[Batch]]
    names: tuple[str, ...]
    count: Callable[[int], float] | None = None
    tokens: int | None = None
    turns: tuple[float, ...] = ()


def train(
    work: LoopInputs, *, state: State, config: TrainingConfig, total: int, stop: Callable[[], int] = came
) -> Iterator[Report]:
    """Steps from where `state` stands to `total`.

    The loss of a step is one mean: the sum over all predictions, over all processes and micro-batches, by the
    sum of the weights. A step whose loss or gradient is not finite, or whose loss is a spike, is skipped on all
    processes.

    A signal is heeded between two micro-batches: `stop` gives its number, or 0. The step is left out then, on all
    processes, and `state` is as the last one left it.

    Raises:
        DivergedError: five steps in a row were not finite.
        MachineError: a single row does not fit into memory.
        Signalled: a signal came, to any of the processes.
    """
    keep_freed_memory()  # not earlier: counting n-grams takes gigabytes that are not wanted again
    while state.step < total:
        notes = dict(state.notes)
        progress = state.step / total
        try:
            _forget_at_turns(work, state, total)
            micro_batches = work.batches(state.step, progress)
            count, tokens = _counted(work, state.step, micro_batches)
            sums = _gradients(work, micro_batches, state, config.seed, count, stop)
        except Signalled:
            state.notes = notes  # what was noted of the step that is left out
            raise
        norm = state.weights.reduce()
        share = learning_rate(config.schedule, state.step, total)
        for optimiser in state.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * share
        finite = bool(torch.isfinite(norm)) and bool(torch.isfinite(sums).all())
        loss = math.fsum(sums[:, 0].tolist()) / count
        limit = spike(state, loss, config.spike_sigma) if finite else None
        if finite and limit is None:
            state.weights.scale(torch.clamp(config.optimiser.clip / (norm + 1e-6), max=1.0))
            for optimiser in state.optimisers:
                optimiser.step()
        state.weights.sync_model()
        state.step += 1
        state.tokens += tokens if work.tokens is None else work.tokens
        state.skipped += not finite
        state.skipped_in_a_row = 0 if finite else state.skipped_in_a_row + 1
        yield Report(
            step=state.step,
            tokens=state.tokens,
            loss=loss,
            losses=_means(work.names, sums),
            learning_rate=state.optimisers[0].param_groups[0]["lr"],
            gradient_norm=float(norm),
            skipped=state.skipped,
            spikes=state.spikes,
            spike=limit,
            pieces=state.pieces,
            padding=_padding(micro_batches),
        )
        _check_converging(state)


def _forget_at_turns(work: LoopInputs, state: State, total: int) -> None:
    """Before the first step of another loss. Moments of gradients fifty times as large would hold back the new ones for
    hundreds of steps, and momentum would go on along the old."""
    before, now = (state.step - 1) / total, state.step / total
    if state.step == state.notes.get("measured"):
        before = 0.0  # until here it was not known how many steps there are
    if any(before < turn <= now for turn in work.turns):
        for optimiser in state.optimisers:
            optimiser.state.clear()
        state.recent = []  # the new loss is no spike of the old one


def _check_converging(state: State) -> None:
    if state.skipped_in_a_row >= SKIPPED_IN_A_ROW:
        raise DivergedError(
            f"the loss or its gradient was not finite in {SKIPPED_IN_A_ROW} steps in a row, the last of them step "
            f"{state.step}. Go on from the last checkpoint with a lower learning rate: "
            "--resume --set training.optimiser.learning_rate=..."
        )


def loss_names(model: Model, names: Iterable[str]) -> tuple[str, ...]:
    """All losses of a run: those of its targets or its objective, by `names`, and those that the model's blocks add."""
    extra = {name for module in model.modules() for name in getattr(module, "extra_losses", ())}
    return tuple(sorted(extra.union(names)))


def _weight(batches: Sequence[Batch]) -> float:
    return float(sum(torch.as_tensor(target.weight).sum() for batch in batches for target in batch.targets))


def _padding(batches: Sequence[Batch]) -> float:
    places = sum(batch.places for batch in batches)
    return 1 - sum(batch.token_count for batch in batches) / max(1, places)


def _counted(work: LoopInputs, step: int, batches: Sequence[Batch]) -> tuple[float, int]:
    """What the step's loss is divided by, over all processes, and the tokens that all read."""
    tokens = sum(batch.token_count for batch in batches)
    both = torch.tensor([_weight(batches), float(tokens)], dtype=torch.float64)
    if dist.is_initialized():
        dist.all_reduce(both)
    return work.count(step) if work.count else max(float(both[0]), 1e-9), int(both[1])


def _heeding(batches: Sequence[Batch], state: State, stop: Callable[[], int]) -> Iterator[Batch]:
    """The micro-batches of a step; a signal ends them.

    Processes that pass theirs in step ask each other before each. Others, which may have more or fewer of them, leave
    off by themselves, and ask before the gradients are added up.

    Raises:
        Signalled: a signal came to any of the processes.
    """
    for batch in batches:
        if state.weights.in_step:
            raise_if_signalled(stop())
        elif stop():
            break
        yield batch
    raise_if_signalled(stop())


def _gradients(
    work: LoopInputs, batches: Sequence[Batch], state: State, seed: int, count: float, stop: Callable[[], int]
) -> Tensor:
    """Backward through every micro-batch, in pieces that fit; sums and counts of the named losses over all processes,
    [names, 2].

    They are added up where the model is: a device is not waited for before the last of its micro-batches.
    """
    device = batches[0].tokens.device if batches else "cpu"
    rank, processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)

    def backward(pieces: Sequence[Batch]) -> Tensor:
        sums = torch.zeros(len(work.names), 2, dtype=torch.float64, device=device)
        for i, batch in enumerate(_heeding(pieces, state, stop)):
            own = zlib.crc32(repr((seed, state.step, i * processes + rank)).encode())  # whatever the number of them
            _seed_dropout(own, batch.tokens.device)
            losses = work.losses(batch, torch.Generator(device=batch.tokens.device).manual_seed(own))
            total = torch.stack([loss for loss, _ in losses.values()]).sum()
            (total / count).backward()
            state.weights.accumulate()
            _add(losses, sums, work.names)
        return sums.cpu()

    before = state.pieces
    sums = fitting_in_memory(backward, batches, state)
    return _over_processes(sums, state, halved=state.pieces > before)


def _seed_dropout(seed: int, device: torch.device) -> None:
    """Without asking after devices that there are not, as `torch.manual_seed` does for each of them anew."""
    seed_all = torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed
    seed_all(seed)


def _over_processes(sums: Tensor, state: State, *, halved: bool) -> Tensor:
    """The sums of all processes; where one of them halved its micro-batches, all do from the next step on."""
    if not dist.is_initialized():
        return sums
    both = torch.cat([sums, torch.tensor([[float(halved), 0.0]], dtype=torch.float64)])
    dist.all_reduce(both)
    if both[-1, 0] > 0:
        pieces = torch.tensor([state.pieces])
        dist.all_reduce(pieces, op=dist.ReduceOp.MAX)
        state.pieces = int(pieces)
    return both[:-1]


def _add(losses: Losses, sums: Tensor, names: Sequence[str]) -> None:
    for name, (loss, weight) in losses.items():
        sums[names.index(name)] += torch.stack([loss.detach().double(), weight.double()])


def _means(names: tuple[str, ...], sums: Tensor) -> dict[str, float]:
    return {name: float(total / weight) for name, (total, weight) in zip(names, sums.tolist(), strict=True) if weight}
