"""Killed a hundred times and resumed every time, a run comes out as if it had never stopped, to the bit.

A third of the kills (SIGKILL) come at random instants, some of them before the first step; most others are sprung when
a checkpoint's half-written folder is seen, and count as inside a save if it is still there after the kill; the last
tenth when the model is exported. After each, every checkpoint and every exported model that has its name is read.

    python proofs/kill.py [SHARDS] [--kills 100] [--seed 0]

About 10 minutes on one core; every life of the run is a process of its own, forked from this one.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from outputs import Running, run
from safetensors.torch import load_file

import bothways
from bothways.training.state import checkpoints, read_record, step_of

SAVE_EVERY = 3
STEPS_A_LIFE = 9  # at most, so that the run outlives its kills
TIMES = {"seconds", "tokens_per_second", "useful_share"}


def command(shards: Path, out: Path, *, steps: int, resume: bool) -> list[str]:
    settings = {"budget.steps": steps, "save_every": SAVE_EVERY, "length": 64, "step_tokens": 256, "micro_tokens": 128}
    settings |= {"validation_rows": 4, "validate_every": 0.1, "schedule.warmup_steps": 10}
    words = ["pretrain", str(shards), "--size=1x64", "--out", str(out), *(["--resume"] if resume else [])]
    return [*words, *(f"--set=training.{key}={value}" for key, value in settings.items())]


def last_step(out: Path) -> int:
    """Of the lines written so far; -1 before there are any."""
    try:
        whole = [line for line in (out / "metrics.jsonl").read_text().splitlines(keepends=True) if line.endswith("\n")]
    except FileNotFoundError:
        return -1
    return json.loads(whole[-1])["step"] if whole else -1


def saving(out: Path) -> bool:
    """Whether a checkpoint is half-written."""
    return any((out / "checkpoints").glob(".*.partial"))


def exporting(out: Path) -> bool:
    """Whether a model is half-written, or has not yet its name."""
    return any(one.name.endswith((".partial", ".gone")) for one in out.glob(".*"))


def wait(going: Running, ready: Callable[[], object], *, every: float) -> None:
    """Until it is ready; a run that ends by itself ends the proof."""
    while not ready():
        if not going.process.is_alive():
            sys.exit(f"FAILED: the run left by itself: {going.end()}")
        time.sleep(every)


def live_and_die(words: list[str], out: Path, rng: random.Random, *, at: str) -> str:
    """One life of the run; says where it was killed."""
    before, going = last_step(out), Running(words)
    if at == "early":
        time.sleep(rng.uniform(0.0, 3.0))
    elif at == "export":
        wait(going, lambda: exporting(out), every=0.0005)
        time.sleep(rng.uniform(0.0, 0.03))
    else:
        stop = max(before, 0) + rng.randint(1, STEPS_A_LIFE)
        wait(going, lambda: last_step(out) >= stop, every=0.005)
        if at == "save":
            wait(going, lambda: saving(out), every=0.0002)
            time.sleep(rng.uniform(0.0, 0.003))
        else:
            time.sleep(rng.uniform(0.0, 0.1))
    going.signal(signal.SIGKILL)
    ended = going.end()
    if ended.code != -signal.SIGKILL:
        sys.exit(f"FAILED: expected a killed run, got {ended}")
    kept = [step_of(path) for path in checkpoints(out / "checkpoints")]
    for path in checkpoints(out / "checkpoints"):
        read_record(path)  # every checkpoint that has its final name is whole
    for face in ("encoder", "decoder"):
        if (out / face).exists():
            bothways.load(out / face, device="cpu")  # and so is every model
    lost = last_step(out) - max(kept, default=0)
    if lost > SAVE_EVERY:
        sys.exit(f"FAILED: {lost} steps lost, saved every {SAVE_EVERY}")
    found = "export" if exporting(out) else "save" if saving(out) else at if at == "early" else "step"
    print(f"  killed in: {found:6}  at step {last_step(out):4d}, goes on from {max(kept, default=0):4d}", flush=True)
    return found


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


def finish(words: list[str]) -> None:
    """Runs it to its end."""
    if (ended := run(words)).code:
        sys.exit(f"FAILED: {ended}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="?", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(asked.seed)
    exports = asked.kills // 10
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        shards = asked.shards or folder / "shards"
        if asked.shards is None:
            finish(["prepare", "python-docs", "--vocabulary=512", "--set=sample=200000", "--out", str(shards)])
        steps = (asked.kills - exports) * (STEPS_A_LIFE + SAVE_EVERY)
        whole, killed = folder / "whole", folder / "killed"
        print(f"a run of {steps} steps that is left alone, and one that is killed {asked.kills} times", flush=True)
        finish(command(shards, whole, steps=steps, resume=False))
        where = []
        for life in range(asked.kills):
            words = command(shards, killed, steps=steps, resume=(killed / "config.yaml").exists())
            at = "early" if life % 9 == 0 else "step" if life % 9 in (3, 6) else "save"
            where.append(live_and_die(words, killed, rng, at="export" if life >= asked.kills - exports else at))
        finish(command(shards, killed, steps=steps, resume=True))
        odd = differing(whole, killed)
        odd += [f"left half-written: {rest}" for rest in killed.rglob(".*")]
    counted = {name: where.count(name) for name in ("save", "export", "step", "early")}
    print(f"{len(where)} kills: {counted}; 0 damaged files loaded; differing: {odd or 'nothing'}")
    few = [name for name, share in (("save", 0.3), ("export", 0.05)) if counted[name] < share * asked.kills]
    if odd or few:
        sys.exit("FAILED: " + ("the runs differ" if odd else f"too few kills fell inside: {', '.join(few)}"))
    print("PASSED: every weight, optimiser tensor and line of metrics is the same to the bit")


if __name__ == "__main__":
    main()
