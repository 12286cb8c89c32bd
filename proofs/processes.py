"""Two processes lose one of them, and are exchanged for one: nothing hangs, nothing is lost, the losses are the same.

- One of two is killed, is stopped (SIGSTOP), does nothing: the others end within 60 s and name it (exit code 6).
- With --max-restarts 1 the same run goes on to the same bits as one that nothing befell; `pretrain` and `finetune`.
- 50 steps in 2, then 1, then 2 processes, replicated and split over them (FSDP2): the losses of one process to 1e-5.

    python proofs/processes.py [killed stopped idle exchanged ...]

Some six minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

import bothways

SMALL = {"length": 64, "step_tokens": 1024, "micro_tokens": 256, "validation_rows": 16, "save_every": 5}
TIMES = {"seconds", "tokens_per_second", "useful_share", "examples_per_second"}
END, AT = 60.0, 12  # seconds to end in; the step after which one is lost
IDLE = """
import os, sys, time
from bothways.training import loop
real = loop._gradients
def idle(work, batches, state, *rest):
    while state.step == 12:
        time.sleep(1000)
    return real(work, batches, state, *rest)
if os.environ.get("RANK") == "1" and "--resume" not in sys.argv:
    loop._gradients = idle
"""
"""A file of one's own (--set code=...) in which the second process does nothing from a step on."""


def pretraining(shards: Path, out: Path, *more: str, steps: int = 40, **settings: object) -> list[str]:
    words = [word for key, value in (SMALL | settings).items() for word in ("--set", f"training.{key}={value}")]
    return ["pretrain", str(shards), "--size", "2x64", "--budget", f"{steps}steps", "--out", str(out), *words, *more]


def finetuning(body: Path, records: Path, out: Path, *more: str) -> list[str]:
    words = ["--train", str(records), "--dev", str(records), "--out", str(out), "--set", "batch=8", "--set", "epochs=3"]
    return ["finetune", str(body), *words, *more]


def start(words: list[str]) -> subprocess.Popen[str]:
    """The command in a process of its own, on one core a process."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bothways", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def must(words: list[str]) -> None:
    """The command, to its end."""
    process = start(words)
    said = process.communicate()[1]
    if process.returncode:
        sys.exit(f"FAILED: {' '.join(words)} left with {process.returncode}:\n{said}")


def lines(out: Path) -> list[dict[str, Any]]:
    try:
        text = (out / "metrics.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def timeless(out: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines(out)]


def children(process: subprocess.Popen[str]) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def lose_one(words: list[str], out: Path, how: Callable[[int], object]) -> tuple[float, int, str]:
    """Seconds from when something befell the second process until all have ended; the exit code; what was said."""
    process = start(words)
    while not any(line["kind"] == "train" and line["step"] >= AT for line in lines(out)):
        if process.poll() is not None:
            sys.exit(f"FAILED: {' '.join(words)} left by itself: {process.communicate()[1]}")
        time.sleep(0.02)
    found = children(process)
    began = time.monotonic()
    how(found[1])
    said = process.communicate()[1]
    took = time.monotonic() - began
    if left := [pid for pid in found if Path(f"/proc/{pid}").exists()]:
        sys.exit(f"FAILED: left behind: {left}")
    return took, process.returncode, said.strip()


def tensors(out: Path) -> dict[str, bytes]:
    """Of the last checkpoint and of all models that are saved."""
    last = max((out / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))
    found = {}
    for file in [*last.glob("*.safetensors"), *out.glob("*/model.safetensors")]:
        for name, tensor in load_file(file).items():
            found[f"{file.relative_to(out)}: {name}"] = tensor.numpy().tobytes()
    return found


def same(one: Path, other: Path) -> bool:
    return tensors(one) == tensors(other) and timeless(one) == timeless(other)


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def stopped(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def idle(pid: int) -> None:
    """It idles by itself."""


class Proof:
    """What is made once, and what was found to be wrong."""

    def __init__(self, work: Path) -> None:
        self.work, self.wrong = work, 0
        self.shards, self.body, self.records = work / "shards", work / "body", work / "records.jsonl"
        (work / "idle.py").write_text(IDLE)
        bothways.prepare(["python-docs"], out=self.shards, vocabulary=2048)
        must(pretraining(self.shards, self.body, "--objective", "mlm", steps=10))
        records = [{"text": f"{'no' * (i % 2)} {i % 7} things", "label": "ab"[i % 2]} for i in range(160)]
        self.records.write_text("\n".join(map(json.dumps, records)))
        two = ("--processes", "2")
        self.whole = {"pretrain": work / "whole", "finetune": work / "whole-tuned"}
        must(pretraining(self.shards, self.whole["pretrain"], *two))
        must(finetuning(self.body, self.records, self.whole["finetune"], *two))

    def say(self, right: bool, text: str) -> None:
        """A line of what was found."""
        self.wrong += not right
        print(f"{'held  ' if right else 'BROKEN'} {text}", flush=True)

    def command(self, name: str, how: Callable[[int], None], *more: str) -> tuple[list[str], Path]:
        """A run in two processes and its folder."""
        out = self.work / f"{name}-{how.__name__}-{len(more)}"
        words = ["--processes", "2", *more, *(["--set", f"code=[{self.work / 'idle.py'}]"] if how is idle else [])]
        if name == "pretrain":
            return pretraining(self.shards, out, *words), out
        return finetuning(self.body, self.records, out, *words), out

    def lost(self, how: Callable[[int], None], names: tuple[str, ...]) -> None:
        """One of two is lost, and the run restarted."""
        took, code, said = lose_one(*self.command("pretrain", how), how)
        named = "process 2 of 2" in said and "--resume" in said
        self.say(took <= END and code == 6 and named, f"{how.__name__}: code {code} after {took:.1f} s: {said[-150:]}")
        for name in names:
            words, out = self.command(name, how, "--max-restarts", "1")
            took, code, said = lose_one(words, out, how)
            right = code == 0 and "Restart 1 of 1" in said and same(out, self.whole[name])
            self.say(right, f"{how.__name__}, restarted: {name} left with {code}, the same to the bit as left alone")

    def exchanged(self) -> None:
        """2 -> 1 -> 2 processes, and 1 all the time."""
        one = self.work / "one"
        must(pretraining(self.shards, one, steps=50, precision="fp32"))
        for first, last in (("false", "false"), ("true", "true"), ("true", "false")):
            out, again = self.work / f"exchanged-{first}-{last}", ("--resume",)
            for count, sharded, steps in ((2, first, 17), (1, "false", 34), (2, last, 50)):
                self.upto(out, steps, "--processes", str(count), *(again if steps > 17 else ()), sharded=sharded)
            ours, theirs = ([one for one in lines(run) if one["kind"] == "train"] for run in (out, one))
            far = max(abs(a["loss"] / b["loss"] - 1) for a, b in zip(ours, theirs, strict=True))
            read = [one["tokens"] for one in ours] == [one["tokens"] for one in theirs]
            how = {"true": "split over 2", "false": "whole in 2"}
            kinds = f"{how[first]}, then in 1, {how[last]}"
            self.say(read and far <= 1e-5, f"{kinds}: 50 steps, losses within {far:.1e} of one process's")

    def upto(self, out: Path, steps: int, *more: str, sharded: str) -> None:
        """The run of 50 steps, stopped by SIGTERM when it has done so many, or to its end."""
        process = start(pretraining(self.shards, out, *more, steps=50, precision="fp32", sharded=sharded))
        while process.poll() is None and (steps == 50 or not any(one["step"] >= steps for one in lines(out))):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM) if steps < 50 else None
        said = process.communicate()[1]
        if process.returncode != (143 if steps < 50 else 0):
            sys.exit(f"FAILED: {out} left with {process.returncode}: {said}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", default=["killed", "stopped", "idle", "exchanged"])
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as place:
        proof = Proof(Path(place))
        for how, names in ((killed, ("pretrain", "finetune")), (stopped, ("pretrain",)), (idle, ("pretrain",))):
            if how.__name__ in only:
                proof.lost(how, names)
        if "exchanged" in only:
            proof.exchanged()
    sys.exit(f"FAILED: {proof.wrong} promises are broken" if proof.wrong else 0)


if __name__ == "__main__":
    main()
