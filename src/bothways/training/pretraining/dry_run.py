"""What a run will cost, found by doing a few of its steps: `bothways pretrain --dry-run`."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from bothways.training.loop import train
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.pretraining.pace import UNKNOWN, mean_pace, timed_updates
from bothways.training.pretraining.setup import set_up, total_steps
from bothways.training.processes import processes

STEPS = 4  # the first is slow (memory is allocated, kernels are chosen), the median of the others counts


@dataclass(frozen=True, slots=True)
class DryRunEstimate:
    """What a few steps of a run show.

    parameters        weights of the model, all of them
    body_parameters   those of its blocks
    steps             of the whole run
    tokens            of the whole run
    epochs            how often the run reads the corpus
    seconds           of all steps together, validation and saving left out
    memory            bytes that this process used at most
    useful_share      of the speed of a matrix product on this machine (`machine.gemm_peak`); None: it was exceeded, or
                      is not known, as of a GPU
    """

    parameters: int
    body_parameters: int
    steps: int
    tokens: int
    epochs: float
    seconds: float
    memory: int
    useful_share: float | None


def estimate_run(config: PretrainConfig, *, device: torch.device | str | None = None, share: int = 1) -> DryRunEstimate:
    """Does the first steps of a run in a folder that is thrown away; `config.out` is not touched.

    Args:
        share: how many processes the run will have, where this one does the steps of all: it reads what one of them
            would, again and again.

    Raises:
        BothwaysError: whatever would stop the run at its start.
    """
    training = config.training
    micro = min(training.micro_tokens, training.step_tokens // share)
    config = config.model_copy(update={"training": training.model_copy(update={"micro_tokens": micro})})
    with TemporaryDirectory(prefix="bothways-") as aside, processes(device=device) as team:
        run = set_up(config.model_copy(update={"out": Path(aside) / "run"}), team, resume=False)
        taken, started = [], time.perf_counter()
        with timed_updates(run.state.optimisers) as updates:
            for _ in islice(train(run.work, state=run.state, config=config.training, total=UNKNOWN), STEPS):
                now = time.perf_counter()
                taken.append(now - started)
                started = now
        each = len(run.state.optimisers)
        pace = mean_pace(taken[1:], updates[each:], run.cost)
        wanted = config.training.budget.seconds
        steps = total_steps(run) or max(1, int((wanted or 0) / pace))
        tokens = steps * config.training.places
        return DryRunEstimate(
            parameters=run.model.parameter_count(),
            body_parameters=run.model.config.body_parameters,
            steps=steps,
            tokens=round(tokens),
            epochs=tokens / run.shards.manifest.train.token_count,
            seconds=steps * pace,
            memory=_most_memory(),
            useful_share=run.useful_share(run.cost.upto(1.0) / pace),
        )


def _most_memory() -> int:
    """Bytes; macOS counts in bytes, Linux in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
