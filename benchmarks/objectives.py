"""What an objective's step costs beside a masked language model's: all objectives in one process, a step each in turns.

    python benchmarks/objectives.py [--rounds 5] [--length 128 512]

Every objective gets the same rows through the shipped code (`pretraining.setup.set_up`, `training.loop.train`), at the
size and with the tokens a step of the other benchmarks, one thread on one core. Compared is the time for a counted
FLOP; for ELECTRA, the time for a token of text. Objectives that lay scaffolding behind the text are compared with plain
rows of that total length.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import common

from bothways.model.tiles import tiles
from bothways.training.loop import Report, train
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.pretraining.setup import PretrainRun, set_up
from bothways.training.processes import processes

PER_FLOP = {"causal": 1.1, "unilm1": 1.1, "hybrid": 1.1}
SCAFFOLDED = {"unilm2": 1.15, "block-diffusion": 1.15}
PER_TOKEN = {128: 1.2, 512: 1.3}  # ELECTRA, by length
MASKS = 0.05  # share of a step


@dataclass(slots=True)
class Side:
    """An objective at work: the run, its loop, and seconds a step, of which so many for samples and masks."""

    name: str
    length: int
    run: PretrainRun
    loop: Iterator[Report]
    seconds: list[float] = field(default_factory=list)
    masks: list[float] = field(default_factory=list)

    def step(self) -> None:
        """One step of training, timed, and the masks of its batches, timed alone."""
        started = time.perf_counter()
        next(self.loop)
        self.seconds.append(time.perf_counter() - started)
        self.masks.append(seconds_for_masks(self.run))

    @property
    def tokens(self) -> int:
        """Of text, in a step."""
        return self.run.config.training.rows * self.length


def seconds_for_masks(run: PretrainRun) -> float:
    """What a step spends on samples, their layout, the dense mask and its tiles; done once more, under the clock."""
    started = time.perf_counter()
    for batch in run.work.batches(run.state.step, 0.5):
        tiles(run.objective.rule.dense(batch.layout), heads=run.model.config.heads)
    return time.perf_counter() - started


def side(name: str, length: int, shards: Path, work: Path) -> Side:
    """A run that is set up and has done its first step."""
    at_once = common.TRAINING.micro_tokens // length * length  # whole rows, also of a length with scaffolding
    step_tokens = common.TRAINING.step_tokens // at_once * at_once
    training = {"budget": {"steps": 10_000}, "length": length, "step_tokens": step_tokens}
    out = Path(tempfile.mkdtemp(prefix="objective-", dir=work)) / "run"
    values = {"shards": shards, "out": out, "objective": name, "size": common.SIZE, "training": training}
    with processes() as team:
        run = set_up(PretrainConfig.model_validate(values), team, resume=False)
    found = Side(name, length, run, train(run.work, state=run.state, config=run.config.training, total=10_000))
    next(found.loop)
    return found


def total_length(run: PretrainRun) -> int:
    """Of a row with its scaffolding, as the batches have it; the longest of a step."""
    return max(int(batch.tokens.shape[1]) for batch in run.work.batches(0, 0.5))


def ratio(one: Side, other: Side, *, by: str) -> float:
    """Time for a FLOP or a token, against the other's in the same rounds: the median."""

    def unit(each: Side) -> float:
        return each.run.cost.upto(1.0) if by == "FLOP" else each.tokens

    return statistics.median(a / unit(one) * unit(other) / b for a, b in zip(one.seconds, other.seconds, strict=True))


def measure(length: int, given: argparse.Namespace, shards: Path) -> None:
    sides = {name: side(name, length, shards, given.work) for name in ("mlm", *PER_FLOP, *SCAFFOLDED, "electra")}
    plain = {name: side("mlm", total_length(sides[name].run), shards, given.work) for name in SCAFFOLDED}
    for _ in range(given.rounds):
        for each in (*sides.values(), *plain.values()):
            each.step()
    print(f"\nrows of {length}, {given.rounds} rounds; a step of mlm {statistics.median(sides['mlm'].seconds):.2f} s")
    for name, asked in PER_FLOP.items():
        tell(f"{name}: time for a FLOP against mlm's", ratio(sides[name], sides["mlm"], by="FLOP"), asked)
    for name, asked in SCAFFOLDED.items():
        label = f"{name}: time for a FLOP against mlm's in rows of {plain[name].length}"
        tell(label, ratio(sides[name], plain[name], by="FLOP"), asked)
    tell(
        "electra: time for a token against mlm's", ratio(sides["electra"], sides["mlm"], by="token"), PER_TOKEN[length]
    )
    for name, each in sides.items():
        share = statistics.median(mask / step for mask, step in zip(each.masks, each.seconds, strict=True))
        tell(f"{name}: share of a step for samples and masks", share, MASKS)


def tell(what: str, found: float, asked: float) -> None:
    verdict = "reached" if found <= asked else "MISSED"
    print(f"  {what:72s} {found:5.3f}   at most {asked} asked: {verdict}", flush=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    found = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found.add_argument("--rounds", type=int, default=5, help="steps of every objective (default 5)")
    found.add_argument("--length", type=int, nargs="+", choices=PER_TOKEN, default=list(PER_TOKEN))
    found.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)), help="the core it runs on")
    found.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "bothways-benchmarks")
    given = found.parse_args(arguments)
    if given.rounds < 1:
        found.error(f"--rounds: expected 1 or more, got {given.rounds}")
    given.work.mkdir(parents=True, exist_ok=True)
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    given = parse(arguments)
    os.sched_setaffinity(0, {given.core})
    common.begin(("torch",))
    import torch

    torch.set_num_threads(1)
    print(
        f"all      size {common.SIZE}, {common.TRAINING.step_tokens:,} tokens a step, one thread on core {given.core}"
    )
    shards = common.prepare("python-docs", given.work / "python-docs-8192", vocabulary=8192)
    for length in given.length:
        measure(length, given, shards)


if __name__ == "__main__":
    main()
