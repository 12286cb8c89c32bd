"""One process of several: does the runs of a file of jobs (small.job), one after the other."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bothways.batch import Batch, Losses
from bothways.config import read
from bothways.errors import BothwaysError, DivergedError, Stopped
from bothways.model import Model
from bothways.objectives import Objective
from bothways.training.pretraining import PretrainConfig, run, setup

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from tests.training.pretraining.small import stopping, waiting

RANK = int(os.environ.get("RANK", "0"))
LOSSES_OF = setup.losses_of


def spoilt(how: str, objective: Objective, model: Model) -> Callable[[Batch, torch.Generator], Losses]:
    """The fifth time that process 1 asks: a "loss" that is no number, or one whose "gradient" is none; or from then on,
    "for good"."""
    losses_of, asked = LOSSES_OF(objective, model), [0]

    def losses(batch: Batch, generator: torch.Generator) -> Losses:
        found = losses_of(batch, generator)
        asked[0] += torch.is_grad_enabled()
        if RANK == 0 or (asked[0] < 5 if how == "for good" else asked[0] != 5):
            return found
        if how == "gradient":
            for loss, _ in found.values():
                loss.register_hook(lambda gradient: gradient * math.inf)
            return found
        return {name: (loss * math.nan, count) for name, (loss, count) in found.items()}

    return losses


def cramped(objective: Objective, model: Model) -> Callable[[Batch, torch.Generator], Losses]:
    """No memory for more than a row from the fifth time on that process 1 asks."""
    losses_of, asked = LOSSES_OF(objective, model), [0]

    def losses(batch: Batch, generator: torch.Generator) -> Losses:
        asked[0] += 1
        if RANK == 1 and asked[0] >= 5 and len(batch.tokens) > 1:
            raise MemoryError
        return losses_of(batch, generator)

    return losses


def do(job: dict[str, Any]) -> None:
    """What is not under test here, the measuring and the export, is left out."""
    os.environ["MASTER_PORT"] = str(job["port"])
    setup.gemm_peak, run.finish = (lambda *_, **__: 1e11), (lambda _: None)
    setup.losses_of = partial(spoilt, job["spoilt"]) if job["spoilt"] else cramped if job["cramped"] else LOSSES_OF
    try:
        show = stopping(job["stop"]) if job["wait"] is None else waiting(job["wait"])
        run.pretrain(read(PretrainConfig, job["config"]), resume=job["resume"], show=show)
    except Stopped:
        if job["stop"] is None:
            raise
    except DivergedError as error:
        if job["spoilt"] != "for good":
            raise
        (Path(job["config"]["out"]) / f"process-{RANK}").write_text(str(error))


if __name__ == "__main__":
    try:
        for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
            do(job)
    except BothwaysError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
