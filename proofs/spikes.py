"""A loss ten times as high is skipped, and at most 1 % of the steps of a clean run are: of objectives whose loss is
steady, that hide one word to all, whose loss is several networks', and of one that becomes another half-way.

Each is trained on real text, and its losses are those of metrics.jsonl; then they are judged again with one in twenty
ten times as high.

    python proofs/spikes.py [SHARDS] [--steps 600] [--runs RUN ...]

About 6 minutes on two cores. `--runs` judges the losses of finished runs of one's own too, as if it were switched on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bothways
from bothways.training.run_folder import RunFolder
from bothways.training.spikes import STEPS, spike

OBJECTIVES = (
    "causal",
    "mlm",
    "hybrid",
    "electra",
    "diffusion",
    "block-diffusion",
    "1/2 mlm + 1/2 diffusion",
    "unilm1",
    "mlm(rate=0.4->0.15)",
    "1/2 mlm -> 1/2 causal",
)
SIGMA, AT_MOST, EVERY = 6.0, 0.01, 20


def losses_of(run: Path) -> list[float]:
    return [line["loss"] for line in RunFolder(run).lines() if line["kind"] == "train" and line["loss"] is not None]


def judged(losses: list[float]) -> list[int]:
    """The numbers of the steps that are not learned."""
    state: Any = SimpleNamespace(recent=[], spikes=0, spikes_in_a_row=0)
    return [number for number, loss in enumerate(losses) if spike(state, loss, SIGMA) is not None]


def told(name: str, losses: list[float]) -> bool:
    """Prints what becomes of a run's losses; whether that is as promised."""
    clean = judged(losses)
    places = range(STEPS + EVERY, len(losses), EVERY)
    found = {*judged([loss * 10 if number in places else loss for number, loss in enumerate(losses)])}
    caught = sum(number in found for number in places)
    share = len(clean) / max(1, len(losses))
    print(f"{name:34}{len(losses):7}{len(clean):10} ({share:.2%}){caught:14} of {len(places)}", flush=True)
    return share <= AT_MOST and caught == len(places)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="?", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--runs", nargs="*", type=Path, default=[])
    asked = parser.parse_args()
    print(f"{'losses of':34}{'steps':>7}{'skipped when clean':>19}{'tenfold ones skipped':>24}")
    bad: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        shards = asked.shards or Path(place, "shards")
        if asked.shards is None:
            bothways.prepare(["python-docs"], out=shards)
        shape = {"layers": 2, "width": 64, "heads": 2, "inner": 128}
        for number, objective in enumerate(OBJECTIVES):
            training = {"length": 64, "step_tokens": 1024, "micro_tokens": 1024, "budget": {"steps": asked.steps}}
            training |= {"validate_every": 1.0, "validation_rows": 8, "spike_sigma": None}
            own: dict[str, Any] = {"objective": objective, "model": shape, "training": training}
            classic = {"shape": "classic", "segments": 6, "word_head": "transformed"}
            own["model"] = shape | (classic if objective == "unilm1" else {})
            run = bothways.pretrain(shards, out=Path(place) / str(number), **own)
            bad += [] if told(objective, losses_of(run)) else [objective]
        for run in asked.runs:  # for comparison: fine-tuning has it switched off
            told(json.dumps(str(run))[-34:], losses_of(run))
    if bad:
        sys.exit(f"FAILED: {', '.join(bad)}")
    print("PASSED: at most 1 % of a clean run, and every tenfold loss")


if __name__ == "__main__":
    main()
