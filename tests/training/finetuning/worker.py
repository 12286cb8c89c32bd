"""One process of several: does the fine-tuning of a file of jobs, one after the other, as plain calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bothways.config import read
from bothways.errors import Stopped
from bothways.training.finetuning import (
    FinetuneConfig,
    MultiTaskConfig,
    finetune,
    finetune_multitask,
    finetune_seeds,
)
from bothways.training.processes import processes

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from tests.training.pretraining.small import stopping

HOW: dict[str, tuple[type, Callable[..., Any]]] = {
    "one": (FinetuneConfig, finetune),
    "several": (MultiTaskConfig, finetune_multitask),
    "seeds": (FinetuneConfig, finetune_seeds),
}


def do(job: dict[str, Any]) -> None:
    """A job is {"how", "config", "stop": after that step, "given": other arguments}."""
    kind, run = HOW[job["how"]]
    try:
        run(read(kind, job["config"]), **job["given"], show=stopping(job["stop"]))
    except Stopped:
        if job["stop"] is None:
            raise


if __name__ == "__main__":
    with processes():
        for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
            do(job)
