"""Killed twenty times and resumed every time, a run comes out as if it had never stopped, to the bit.

Half of the kills (SIGKILL) come at random instants, some of them before the first step; the others are sprung when a
checkpoint's half-written folder is seen, and count as inside a save if it is still there after the kill.

    python proofs/kill.py [SHARDS] [--kills 20] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import bothways
from bothways.training.state import checkpoints, read_record, step_of

SAVE_EVERY = 3
STEPS_A_LIFE = 9  # at most, so that the run outlives its kills
TIMES = {"seconds", "tokens_per_second", "useful_share"}


def command(shards: Path, out: Path, *, steps: int, resume: bool) -> list[str]:
    settings = {"budget.steps": steps, "save_every": SAVE_EVERY, "length": 64, "step_tokens": 256, "micro_tokens": 128}
    settings |= {"validation_rows": 16, "schedule.warmup_steps": 10}
    words = ["pretrain", str(shards), "--out", str(out), *(["--resume"] if resume else [])]
    words += [word for key, value in settings.items() for word in ("--set", f"training.{key}={value}")]
    return [sys.executable, "-m", "bothways", *words]


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def last_step(out: Path) -> int:
    """Of the lines written so far; -1 before there are any."""
    try:
        whole = [line for line in (out / "metrics.jsonl").read_text().splitlines(keepends=True) if line.endswith("\n")]
    except FileNotFoundError:
        return -1
    return json.loads(whole[-1])["step"] if whole else -1


def half_written(out: Path) -> list[Path]:
    return list((out / "checkpoints").glob(".*.partial"))


def wait(process: subprocess.Popen[str], ready: Callable[[], object], *, every: float) -> None:
    """Until it is ready; a run that ends by itself ends the proof."""
    while not ready():
        if process.poll() is not None:
            said = process.communicate()[1]
            sys.exit(f"FAILED: the run left by itself with exit code {process.returncode}: {said}")
        time.sleep(every)


def live_and_die(words: list[str], out: Path, rng: random.Random, *, in_a_save: bool, early: bool) -> str:
    """One life of the run; says where it was killed."""
    before = last_step(out)
    process = start(words)
    if early:
        time.sleep(rng.uniform(0.0, 4.0))
    else:
        stop = max(before, 0) + rng.randint(1, STEPS_A_LIFE)
        wait(process, lambda: last_step(out) >= stop, every=0.01)
        if in_a_save:
            time.sleep(rng.uniform(0.0, 0.1))
            wait(process, lambda: half_written(out), every=0.0005)
            time.sleep(rng.uniform(0.0, 0.002))
        else:
            time.sleep(rng.uniform(0.0, 0.3))
    process.kill()
    said = process.communicate()[1]
    if process.returncode != -9:
        sys.exit(f"FAILED: expected a killed run, got exit code {process.returncode}: {said}")
    kept = [step_of(path) for path in checkpoints(out / "checkpoints")]
    for path in checkpoints(out / "checkpoints"):
        read_record(path)  # every checkpoint that has its final name is whole
    lost = last_step(out) - max(kept, default=0)
    if lost > SAVE_EVERY:
        sys.exit(f"FAILED: {lost} steps lost, saved every {SAVE_EVERY}")
    where = "early" if early else "inside a save" if half_written(out) else "between saves"
    print(f"  killed {where:13s} at step {last_step(out):4d}, goes on from {max(kept, default=0):4d}", flush=True)
    return where


def lines(out: Path) -> list[dict[str, Any]]:
    """metrics.jsonl, times aside."""
    text = (out / "metrics.jsonl").read_text()
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in text.splitlines()]


def differing(one: Path, other: Path) -> list[str]:
    """What is not the same in two finished runs."""
    found = [
        f"metrics.jsonl from step {a['step']} on" for a, b in zip(lines(one), lines(other), strict=False) if a != b
    ]
    found = found[:1] + (["the number of lines"] if len(lines(one)) != len(lines(other)) else [])
    last = checkpoints(one / "checkpoints")[-1].relative_to(one)
    names = [last / "weights.safetensors", last / "optimiser.safetensors"]
    names += [Path(face, "model.safetensors") for face in ("encoder", "decoder")]
    for name in names:
        ours, theirs = load_file(one / name), load_file(other / name)
        odd = [key for key in ours.keys() | theirs.keys() if not torch.equal(ours[key], theirs[key])]
        found += [f"{len(odd)} of {len(ours)} tensors in {name}"] if odd else []
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="?", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rng = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        shards = asked.shards or folder / "shards"
        if asked.shards is None:
            bothways.prepare(["python-docs"], out=shards)
        steps = asked.kills * (STEPS_A_LIFE + SAVE_EVERY)
        whole, killed = folder / "whole", folder / "killed"
        print(f"a run of {steps} steps that is left alone, and one that is killed {asked.kills} times", flush=True)
        subprocess.run(command(shards, whole, steps=steps, resume=False), check=True, stdout=subprocess.DEVNULL)
        where = []
        for life in range(asked.kills):
            words = command(shards, killed, steps=steps, resume=(killed / "config.yaml").exists())
            where.append(live_and_die(words, killed, rng, in_a_save=life % 2 == 1, early=life % 7 == 0))
        subprocess.run(command(shards, killed, steps=steps, resume=True), check=True, stdout=subprocess.DEVNULL)
        odd = differing(whole, killed)
    inside = where.count("inside a save")
    print(f"{len(where)} kills, {inside} of them inside a save, 0 checkpoints damaged; differing: {odd or 'nothing'}")
    if odd or inside < asked.kills // 5:
        sys.exit("FAILED: " + ("the runs differ" if odd else "too few kills fell inside a save"))
    print("PASSED: every weight, optimiser tensor and line of metrics is the same to the bit")


if __name__ == "__main__":
    main()
