"""Shards of a few hundred invented documents, and runs on them that take a second."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bothways.config import read, with_settings
from bothways.corpus import PrepareOptions, prepare
from bothways.errors import Stopped
from bothways.training.loop import Report, train
from bothways.training.pretraining import PretrainConfig, pretrain
from bothways.training.run_folder import RunFolder
from bothways.training.state import checkpoints

WORKER = Path(__file__).with_name("worker.py")
TIMES = {"seconds", "tokens_per_second", "useful_share"}
"""What differs between two runs of the same configuration."""


def make_shards(folder: Path, *, documents: int, seed: int = 0) -> Path:
    """Documents of 5 to 40 invented words, a tenth held out."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 8))) for _ in range(200)]
    texts = (" ".join(rng.choices(words, k=rng.randint(5, 40))) for _ in range(documents))
    text = folder / f"text-{seed}.txt"
    text.write_text("\n\n".join(texts), encoding="utf-8")
    shards = folder / f"shards-{seed}"
    prepare([str(text)], out=shards, options=PrepareOptions(vocabulary=512, validation=0.1))
    return shards


def configuration(shards: Path, out: Path, *settings: str, objective: str = "hybrid") -> PretrainConfig:
    """A model of one layer, twelve steps of eight rows of 32; `settings` as after --set."""
    values = {
        "shards": str(shards),
        "out": str(out),
        "objective": objective,
        "model": {"layers": 1, "width": 32, "heads": 2, "inner": 48},
        "training": {
            "budget": {"steps": 12},
            "length": 32,
            "step_tokens": 256,
            "micro_tokens": 64,
            "precision": "fp32",
            "schedule": {"warmup_steps": 2},
            "validate_every": 0.25,
            "validation_rows": 6,
            "save_every": 5,
        },
    }
    return read(PretrainConfig, with_settings(values, settings))


def stopping(step: int | None) -> Callable[[dict[str, Any]], None]:
    """A `show` for pretrain: asks the run, with a signal, to stop after so many steps."""

    def show(line: dict[str, Any]) -> None:
        if line["step"] == step and line["kind"] == "train":
            os.kill(os.getpid(), signal.SIGTERM)

    return show


def waiting(step: int) -> Callable[[dict[str, Any]], None]:
    """A `show` for pretrain: after so many steps the run stands still until a signal comes from outside."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)  # a signal that comes before the run waits is not missed

    def show(line: dict[str, Any]) -> None:
        if line["kind"] == "train" and line["step"] == step:
            os.read(reading, 1)

    return show


def clocked(monkeypatch: pytest.MonkeyPatch, pace: Callable[[int], float]) -> SimpleNamespace:
    """A clock, `now`, by which a step takes so many seconds, by its number, and all else none."""
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)

    def timed(*args: Any, **options: Any) -> Iterator[Report]:
        for report in train(*args, **options):
            clock.now += pace(report.step)
            yield report

    monkeypatch.setattr("bothways.training.fit.train", timed)
    for module in ("fit", "pretraining.run", "pretraining.pace"):
        monkeypatch.setattr(f"bothways.training.{module}.time", clock)
    return clock


def run_until(config: PretrainConfig, step: int, *, resume: bool = False) -> None:
    """Trains up to a step, where a signal stops it."""
    with pytest.raises(Stopped):
        pretrain(config, resume=resume, show=stopping(step))
    assert RunFolder(config.out).lines()[-1]["step"] == step


def lines(out: Path, *, without: set[str] = TIMES) -> list[dict[str, Any]]:
    """metrics.jsonl, times aside."""
    return [{key: value for key, value in line.items() if key not in without} for line in RunFolder(out).lines()]


def train_lines(out: Path) -> list[dict[str, Any]]:
    """The lines of the steps, without what a larger budget changes."""
    return [line for line in lines(out, without={*TIMES, "progress", "steps"}) if line["kind"] == "train"]


def tensors(out: Path, *, step: int | None = None) -> dict[str, torch.Tensor]:
    """All tensors of the last checkpoint, or of that step's: weights, their average, the optimiser's."""
    folder = checkpoints(out / "checkpoints")[-1] if step is None else out / "checkpoints" / f"step-{step}"
    return {
        f"{path.stem}/{key}": value
        for path in sorted(folder.glob("*.safetensors"))
        for key, value in load_file(path).items()
    }


def assert_same_weights(ours: Path, theirs: Path) -> None:
    """Every weight and optimiser tensor of the last checkpoints, to the bit."""
    left, right = tensors(ours), tensors(theirs)
    assert left.keys() == right.keys()
    assert not [name for name in left if not torch.equal(left[name], right[name])]


def assert_same_run(ours: Path, theirs: Path) -> None:
    """The weights, and every line of metrics, times aside."""
    assert_same_weights(ours, theirs)
    assert lines(ours) == lines(theirs)


def free_port() -> int:
    """Of this machine."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def job(
    config: PretrainConfig,
    *,
    resume: bool = False,
    stop: int | None = None,
    wait: int | None = None,
    spoilt: str = "",
    cramped: bool = False,
) -> dict[str, Any]:
    """A run for `tests/training/pretraining/worker.py`: stopped by a signal of its own, or by one that it waits for."""
    values = config.model_dump(mode="json")
    faults = {"spoilt": spoilt, "cramped": cramped}
    return {"config": values, "resume": resume, "stop": stop, "wait": wait, **faults, "port": free_port()}


def start(
    jobs: Sequence[dict[str, Any]],
    folder: Path,
    *,
    processes: int = 1,
    worker: Path = WORKER,
) -> list[subprocess.Popen[str]]:
    """The runs, one after the other, in processes of their own that find each other as torchrun's do."""
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    shared = os.environ | {"OMP_NUM_THREADS": "1", "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": str(free_port())}
    return [
        subprocess.Popen(
            [sys.executable, "-W", "error", str(worker), str(folder / "jobs.json")],
            env=shared | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}),
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for rank in range(processes)
    ]


def finish(started: Sequence[subprocess.Popen[str]], *, expect: int = 0) -> list[str]:
    """What each process said on standard error, once all have left with the expected exit code."""
    try:
        said = [process.communicate(timeout=600)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [expect] * len(started), "\n".join(said)
    return said
