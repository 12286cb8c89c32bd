"""Is `bothways pretrain` as it comes better than the Hugging Face Trainer with the best of four rates, in equal time?

    python proofs/beside_trainer.py SHARDS --work FOLDER [--size tiny] [--seconds 300] [--seeds 3] [--cores 0 1]
        [--rates 3e-4 1e-3 3e-3 1e-2] [--table]

Ours is the shipped command with all defaults (`mlm`). The peer is BertForMaskedLM of as many layers, width and heads
under the Trainer: the same tokens in full rows in memory, steps of as many tokens, AdamW, a rate that rises for a
twentieth of the steps and falls to 0, no dropout, which costs it time and helps no short run. Its number of steps is
what its own speed, measured in 30 steps just before, allows in the seconds; saving and loading are not counted. Where
there are two cores two runs go on at a time, each on one of them.

Both models are then given the same held-out rows with the same 15 % hidden: the share filled in right. Every rate has
a run with the first seed; the best of them, by that figure, has one with every seed. A row is a file in WORK.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from bothways.corpus import Shards
from bothways.evaluation.comparison.metrics import FILL, held_out
from bothways.files import write_text
from bothways.inference import load
from bothways.model import preset
from bothways.objectives import build
from bothways.statistics import Mean
from bothways.training.config import TrainingConfig
from bothways.training.pretraining.batches import validation_rows
from bothways.training.pretraining.config import step_tokens_for
from bothways.training.run_folder import RunFolder

PEER = Path(__file__).parents[1] / "benchmarks" / "peers" / "trainer.py"
OURS = "bothways"
ROWS = 1024  # held out
MEASURED, WARM = 30, 5  # steps by which the peer's speed is found, and those of them that are not timed
RISING = 0.05  # of the peer's steps


@dataclass(frozen=True, slots=True)
class Job:
    """A run: ours, or the peer's at a rate."""

    side: str
    seed: int


class Proof:
    """Where everything lies, and what is done already."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.shards = given, Shards.open(given.shards)
        self.shape = preset(given.size, vocabulary=self.shards.vocabulary.size)
        self.step_tokens = step_tokens_for(given.size)
        self.length = TrainingConfig().length
        self.free: SimpleQueue[int] = SimpleQueue()
        for core in given.cores:
            self.free.put(core)

    def place(self, job: Job) -> Path:
        """The file of a row."""
        given = self.given
        return Path(given.work) / f"{given.size}-{given.seconds:g}s-{job.side}-{job.seed}.json"

    def row(self, job: Job) -> dict[str, Any]:
        """A run, made once: its figures."""
        place = self.place(job)
        if not place.exists():
            if self.given.table:
                sys.exit(f"{place} is missing")
            core, out = self.free.get(), place.with_suffix(".run")
            os.sched_setaffinity(0, {core})  # this thread, which measures, too: on the other core a run is timed
            shutil.rmtree(out, ignore_errors=True)
            try:
                found = self.ours(job, core, out) if job.side == OURS else self.theirs(job, core, out)
            finally:
                self.free.put(core)
            write_text(place, json.dumps(found) + "\n")
            shutil.rmtree(out)
            print(f"{job.side}, seed {job.seed}: {found}", flush=True)
        return dict(json.loads(place.read_text(encoding="utf-8")))

    def ours(self, job: Job, core: int, out: Path) -> dict[str, Any]:
        """The shipped command, as it comes."""
        told = [self.given.shards, "--objective", "mlm", "--size", self.given.size, "--out", out]
        told += ["--budget", f"{self.given.seconds:g}s", "--set", f"training.seed={job.seed}"]
        alone([sys.executable, "-m", "bothways", "pretrain", *told], core)
        last = RunFolder(out).last("train")
        return {"fills": self.fills(out), "steps": last["steps"], "seconds": last["seconds"]}

    def theirs(self, job: Job, core: int, out: Path) -> dict[str, Any]:
        """The Trainer: timed for some steps, then for as many as its seconds allow."""
        told: list[Any] = [sys.executable, PEER, self.given.shards, "--length", self.length, "--dropout", 0]
        told += ["--layers", self.shape.layers, "--width", self.shape.width]
        told += ["--batch", self.step_tokens // self.length, "--rate", job.side, "--seed", job.seed]
        timed = laps([*told, "--steps", MEASURED], core)[WARM:]
        steps = round(self.given.seconds * len(timed) / sum(timed))
        seconds = sum(laps([*told, "--steps", steps, "--rising", round(RISING * steps), "--save", out], core))
        return {"fills": self.fills(out), "steps": steps, "seconds": seconds}

    def fills(self, folder: Path) -> float:
        """The share of hidden tokens that a saved model, whoever made it, fills in right."""
        rows = validation_rows(self.shards, TrainingConfig(validation_rows=ROWS))
        found = dict(held_out(load(folder), build("mlm", self.shards.vocabulary), self.shards, rows))
        return found[FILL].figure


def laps(told: list[Any], core: int) -> list[float]:
    """Seconds of the peer's steps."""
    return [wall for _, _, wall, _ in json.loads(alone(told, core).splitlines()[-1])["laps"]]


def alone(told: list[Any], core: int) -> str:
    """What a command prints that has one core and one thread."""
    done = subprocess.run(
        ["taskset", "-c", str(core), *map(str, told)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"exit code {done.returncode}: {' '.join(map(str, told))}\n{done.stderr}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shards", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cores", nargs="+", type=int, default=sorted(os.sched_getaffinity(0))[:2])
    parser.add_argument("--rates", nargs="+", default=["3e-4", "1e-3", "3e-3", "1e-2"])
    parser.add_argument("--table", action="store_true", help="only print what is done")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    proof = Proof(given)
    with ThreadPoolExecutor(len(given.cores)) as both:
        first = dict(zip(given.rates, both.map(lambda rate: proof.row(Job(rate, 0)), given.rates), strict=True))
        best = max(first, key=lambda rate: float(first[rate]["fills"]))
        jobs = [Job(side, seed) for seed in range(given.seeds) for side in (OURS, best)]
        rows = dict(zip(jobs, both.map(proof.row, jobs), strict=True))
    print("\n| | filled in right | steps | seconds |\n|---|---|---|---|")
    sides = [(OURS, [rows[Job(OURS, seed)] for seed in range(given.seeds)])]
    sides += [(f"Trainer, {rate}", [found]) for rate, found in first.items() if rate != best]
    sides += [(f"Trainer, {best}, the best", [rows[Job(best, seed)] for seed in range(given.seeds)])]
    for name, some in sides:
        means = {key: Mean.of([float(one[key]) for one in some]).mean for key in ("fills", "steps", "seconds")}
        print(f"| {name} | {means['fills']:.4f} | {means['steps']:.0f} | {means['seconds']:.0f} |")
    apart = Mean.of([rows[Job(OURS, seed)]["fills"] - rows[Job(best, seed)]["fills"] for seed in range(given.seeds)])
    print(f"\nours is {100 * apart.mean:+.2f} ± {100 * apart.half:.2f} points from it ({given.seeds} seeds)")
    sys.exit(not apart.mean - apart.half > 0)  # of one seed there is no interval, and nothing is shown


if __name__ == "__main__":
    main()
