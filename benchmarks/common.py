"""What the benchmarks of training share: pinned processes, and the shipped command with a second clock beside its own.

A lap is one optimiser step. Two clocks: the wall's, and the processor time of the process, which leaves out waiting for
neighbours on a shared machine, though not what they do to its caches.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bothways
from bothways import machine
from bothways.training.pretraining.config import PretrainConfig

SIZE = "mini"
TRAINING = PretrainConfig.model_validate(
    {"shards": ".", "out": ".", "size": SIZE, "training": {"budget": {"steps": 1}}}
).training
"""The command's defaults for this size; the peer is given the same tokens at once and the same tokens in a step."""

# All that a run is told beyond shards, objective, size, length and budget: to look at fewer held-out rows, at its start
# and its end only. No step is another for it; a resumed run may change the same two.
LOOK_LESS = ("training.validate_every=1", "training.validation_rows=16")

WITHIN = 0.05  # how far a run's own clock may be from the one outside
EVERY = 0.02  # seconds between two looks at metrics.jsonl


@dataclass(frozen=True, slots=True)
class Lap:
    """One optimiser step: tokens, seconds by the wall, seconds of the processor."""

    tokens: float
    wall: float
    cpu: float


def speed(laps: Sequence[Lap], clock: str) -> float:
    """Tokens a second: the median of the laps; where they differ in tokens, all tokens by all seconds."""
    seconds = [max(getattr(lap, clock), 1e-9) for lap in laps]
    if len({lap.tokens for lap in laps}) > 1:
        return sum(lap.tokens for lap in laps) / sum(seconds)
    return statistics.median(lap.tokens / second for lap, second in zip(laps, seconds, strict=True))


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the shipped command, after its warm-up.

    folder           where it is
    laps             by its own metrics.jsonl (processor time as seen from outside)
    outside          seconds between its first and its last line, by the clock of this process
    flops_per_token  useful ones: the head counted at predicted places only
    machine          what its manifest says: GEMM peak (floating-point operations a second), precision, huge pages
    """

    folder: Path
    laps: list[Lap]
    outside: float
    flops_per_token: float
    machine: dict[str, Any]

    @property
    def disagreement(self) -> float:
        """Share by which its own clock differs from the one outside."""
        return abs(sum(lap.wall for lap in self.laps) / self.outside - 1)

    def useful_share(self, clock: str) -> float:
        """Useful share of the GEMM peak that the run itself found."""
        share: float = speed(self.laps, clock) * self.flops_per_token / self.machine["peak"]
        return share

    def check(self) -> None:
        """Leaves the benchmark if the run's own speed is not to be believed."""
        if self.disagreement > WITHIN:
            sys.exit(
                f"{self.folder}: metrics.jsonl and the clock outside should agree within {WITHIN:.0%}; "
                f"they differ by {self.disagreement:.1%}"
            )


def pretrain(
    shards: Path,
    out: Path,
    *,
    cores: Collection[int],
    steps: int,
    warmup: int,
    options: Sequence[str] = (),
    threads: int = 1,
) -> Run:
    """`python -m bothways pretrain SHARDS --size mini --objective mlm`, pinned and watched."""
    shutil.rmtree(out, ignore_errors=True)
    settings = [word for setting in LOOK_LESS for word in ("--set", setting)]
    command = ["-m", "bothways", "pretrain", str(shards), "--out", str(out), "--size", SIZE, "--objective", "mlm"]
    budget = ["--budget", f"{warmup + steps}steps"]
    sights: list[tuple[dict[str, Any], float, float]] = []  # a line of metrics, and both clocks when it appeared

    def look(process: subprocess.Popen[str]) -> None:
        new = _lines(out / "metrics.jsonl")[len(sights) :]
        sights.extend((line, time.perf_counter(), _cpu_seconds(process.pid)) for line in new)

    call([*command, *budget, *settings, *options], cores=cores, threads=threads, look=look)
    steps_seen = [sight for sight in sights if sight[0]["kind"] == "train"][warmup - 1 :]
    laps = [
        Lap(tokens := line["tokens"] - before["tokens"], tokens / line["tokens_per_second"], cpu - cpu_before)
        for (before, _, cpu_before), (line, _, cpu) in itertools.pairwise(steps_seen)
    ]
    return Run(
        folder=out,
        laps=laps,
        outside=steps_seen[-1][1] - steps_seen[0][1],
        flops_per_token=steps_seen[-1][0]["flops"] / steps_seen[-1][0]["tokens"],
        machine=json.loads((out / "manifest.json").read_text(encoding="utf-8"))["machine"],
    )


def call(
    arguments: Sequence[str],
    *,
    cores: Collection[int],
    threads: int = 1,
    huge_pages: bool = False,
    look: Callable[[subprocess.Popen[str]], None] = lambda process: None,
) -> str:
    """Runs Python on these cores and returns what it printed; `look` is called every few milliseconds meanwhile.

    The environment is the user's own, but for the number of threads, and huge pages where they are given.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    if huge_pages:
        environment["THP_MEM_ALLOC_ENABLE"] = "1"
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complaints, _others(cores):
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            stdout=said,
            stderr=complaints,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        try:
            while process.poll() is None:
                look(process)
                time.sleep(EVERY)
        finally:
            process.terminate()
            process.wait()
        said.seek(0)
        complaints.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(arguments)}\nleft with exit code {process.returncode}:\n{complaints.read()[-4000:]}")
        return said.read()


def trainer_speed(trainer: Any, *, batch: int, warm: int) -> float:
    """Examples a second of a Trainer of transformers that trains here, by the wall: without its first `warm` steps, and
    without the last, which has fewer examples."""
    import transformers

    stamps: list[float] = []

    class StepClock(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            stamps.append(time.perf_counter())

    trainer.add_callback(StepClock())
    trainer.train()
    stamps.pop()
    return batch * (len(stamps) - warm) / (stamps[-1] - stamps[warm - 1])


def prepare(source: str | Path, out: Path, *, vocabulary: int) -> Path:
    """Shards of `source`, made once."""
    if not (out / "index.json").is_file():
        print(f"preparing {out.name}", flush=True)
        command = ["-m", "bothways", "prepare", str(source), "--out", str(out), "--vocabulary", str(vocabulary)]
        call(command, cores=os.sched_getaffinity(0))
    return out


def parser(description: str, *, pairs: int, steps: int | None = None) -> argparse.ArgumentParser:
    """The options that benchmarks share; `steps`, those of who measures steps."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--pairs", type=int, default=pairs, help=f"how often the sides take turns (default {pairs})")
    if steps is not None:
        said = f"measured optimiser steps of a side (default {steps})"
        found.add_argument("--steps", type=int, default=steps, help=said)
        found.add_argument("--warmup", type=int, default=1, help="steps before them (default 1)")
    found.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "bothways-benchmarks",
        help="folder for shards, made once, and runs (default %(default)s)",
    )
    return found


def parse(found: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, checked as far as benchmarks share them."""
    given = found.parse_args(arguments)
    for name in ("pairs", "steps", "warmup"):
        if getattr(given, name, 1) < 1:
            found.error(f"--{name}: expected 1 or more, got {getattr(given, name)}")
    given.work.mkdir(parents=True, exist_ok=True)
    return given


def precisions() -> list[str]:
    """In which a peer is timed: fp32, and bf16 where the machine is faster in it."""
    return ["fp32", "bf16"] if machine.precision_for() == "bf16" else ["fp32"]


def begin(packages: Sequence[str]) -> None:
    """Says on what is run: processor, huge pages, versions. From here on SIGTERM ends the timed process too."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    versions = [f"{name} {machine.package_version(name)}" for name in packages]
    pages = machine.huge_pages() or "none"
    bf16 = machine.bf16_instructions() or "none"
    print(f"machine  {machine.processor()}, {machine.cores()} core(s), huge pages of the kernel: {pages}, bf16: {bf16}")
    print(
        f"versions {', '.join([f'bothways {bothways.__version__}', *versions, f'Python {platform.python_version()}'])}"
    )


def _lines(file: Path) -> list[dict[str, Any]]:
    """Whole lines of metrics.jsonl."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _cpu_seconds(pid: int) -> float:
    """Processor time of a process and its threads so far (proc(5): utime and stime)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _others(cores: Collection[int]) -> Iterator[None]:
    """Moves this process away from `cores` while it only watches, if there are others."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before - set(cores) or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
