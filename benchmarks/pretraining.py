"""`bothways pretrain` beside the Hugging Face Trainer: the same text, tokens and matrix sizes, on one core, in turns.

    python benchmarks/pretraining.py [--rows 8k-128 ...] [--pairs 3] [--core 0] [--clock wall]

Ours is the shipped command with its defaults (--size mini --objective mlm), its speed read from its own metrics.jsonl
and checked against a clock outside; the model it saved is loaded with transformers at the end. The peer is
BertForMaskedLM under the Trainer (peers/trainer.py), in its default fp32 and, where the machine is faster in it,
with bf16=True. How to read what this prints: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import statistics
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
from common import TRAINING, Lap, Run, speed

from bothways import machine

TRAINER = Path(__file__).parent / "peers" / "trainer.py"
DOCUMENTS_AT_ONCE = 16
BATCHES_A_STEP = 1  # of padded documents: as much to compute as in a step of full rows, roughly


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table: text, vocabulary, length of rows, and how many times the peer's speed ours should have.

    targets  {precision of the peer: ratio} where the machine is faster in bf16
    plain    the ratio to the peer's fp32 where it is not

    padded  None: both sides have full rows, and every token counts. True: the peer pads documents, we pack them;
            False: the peer is given them grouped into full rows. Then text alone counts: no padding, and not the [CLS]
            that we put before every row.
    """

    text: str
    vocabulary: int
    length: int
    targets: dict[str, float]
    plain: float
    padded: bool | None = None

    def asked(self) -> dict[str, float]:
        """The targets for this machine: the peer runs in each of their precisions."""
        return self.targets if machine.precision_for() == "bf16" else {"fp32": self.plain}


CASES = {
    "8k-128": Case("python-docs", 8192, 128, {"fp32": 2.5, "bf16": 1.7}, 1.45),
    "8k-512": Case("python-docs", 8192, 512, {"fp32": 2.7, "bf16": 2.4}, 1.6),
    "30k-128": Case("python-docs", 30522, 128, {"fp32": 3.3, "bf16": 2.3}, 1.8),
    "documents": Case("docstrings", 8192, 512, {"fp32": 10.0, "bf16": 5.5}, 6.0, padded=True),
    "documents-grouped": Case("docstrings", 8192, 512, {"bf16": 2.2}, 1.5, padded=False),
}


@dataclass(frozen=True, slots=True)
class Peer:
    """A run of the Trainer: its laps after the warm-up, tokens computed for every real one, and its own account."""

    laps: list[Lap]
    padding: float
    told: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """A round of all sides, and their tokens a second."""

    run: Run
    peers: dict[str, Peer]
    ours: float
    theirs: dict[str, float]


def shards_of(case: Case, work: Path) -> Path:
    """The row's prepared text."""
    source: str | Path = case.text
    if case.text == "docstrings":
        source = work / "docstrings.jsonl"
        if not source.is_file():
            lines = [json.dumps({"text": text}) + "\n" for text in docstrings()]
            source.write_text("".join(lines), encoding="utf-8")
    return common.prepare(source, work / f"{case.text}-{case.vocabulary}", vocabulary=case.vocabulary)


def docstrings() -> Iterator[str]:
    """Documents of real length: every docstring of the standard library, numpy and torch, one a document."""
    roots = [Path(sysconfig.get_paths()["stdlib"])]
    for package in ("numpy", "torch"):
        found = importlib.util.find_spec(package)
        roots += [Path(place) for place in (found.submodule_search_locations or [] if found else [])]
    for root in roots:
        for file in sorted(root.rglob("*.py")):
            if not {"site-packages", "dist-packages", "test", "tests"} & set(file.relative_to(root).parts):
                yield from filter(None, _docstrings(file))


def _docstrings(file: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old code escapes what needs no escape
        try:
            nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        except (SyntaxError, ValueError):
            return
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield (ast.get_docstring(node) or "").strip()


def run_ours(case: Case, shards: Path, given: argparse.Namespace, out: Path) -> Run:
    """The shipped command; only shards, length and budget are its own."""
    options = ["--set", f"training.length={case.length}"] if case.length != TRAINING.length else []
    run = common.pretrain(shards, out, cores={given.core}, steps=given.steps, warmup=given.warmup, options=options)
    run.check()
    return run


def run_peer(case: Case, precision: str, shards: Path, given: argparse.Namespace, seed: int) -> Peer:
    """The Trainer, with our tokens at once and in a step; padded documents as its users batch them."""
    options = {
        "length": case.length,
        "batch": DOCUMENTS_AT_ONCE if case.padded else TRAINING.micro_tokens // case.length,
        "accumulate": BATCHES_A_STEP if case.padded else TRAINING.step_tokens // TRAINING.micro_tokens,
        "steps": given.steps + given.warmup,
        "warmup": given.warmup,
        "seed": seed,
        **({} if given.peer_dropout is None else {"dropout": given.peer_dropout}),
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    words += ["--bf16"] * (precision == "bf16") + ["--padded"] * bool(case.padded)
    said = common.call([str(TRAINER), str(shards), *words], cores={given.core}, huge_pages=given.peer_huge_pages)
    told = json.loads(said.splitlines()[-1])
    laps = told.pop("laps")[given.warmup :]  # real and computed tokens, wall, processor
    padding = sum(lap[1] for lap in laps) / sum(lap[0] for lap in laps)
    return Peer([Lap(real, wall, cpu) for real, _, wall, cpu in laps], padding, told)


def take_turn(case: Case, name: str, shards: Path, given: argparse.Namespace, number: int) -> Turn:
    """One round: the peer, ours, the peer in its other precision, so that ours is next to both."""
    first, *rest = case.asked()
    peers = {first: run_peer(case, first, shards, given, number)}
    run = run_ours(case, shards, given, given.work / "runs" / name)
    peers |= {precision: run_peer(case, precision, shards, given, number) for precision in rest}
    text = 1.0 if case.padded is None else (case.length - 1) / case.length
    theirs = {precision: speed(peer.laps, given.clock) for precision, peer in peers.items()}
    return Turn(run, peers, speed(run.laps, given.clock) * text, theirs)


def measure(name: str, given: argparse.Namespace) -> None:
    """All pairs of one row of the table, printed as they come, then their medians."""
    case = CASES[name]
    shards = shards_of(case, given.work)
    kind = {None: "full rows", True: "the Trainer pads documents, we pack them", False: "the Trainer has grouped rows"}
    print(
        f"\n{name}: {case.text}, vocabulary {case.vocabulary:,}, rows of {case.length}; {kind[case.padded]}", flush=True
    )
    if case.padded is not None:
        print(f"  {lengths(shards, case.length)}")
    turns: list[Turn] = []
    for number in range(1, given.pairs + 1):
        turns.append(turn := take_turn(case, name, shards, given, number))
        sides = [f"Trainer {which} {theirs:6,.0f} (x{turn.ours / theirs:.2f})" for which, theirs in turn.theirs.items()]
        print(f"  {number}. tokens a second: ours {turn.ours:6,.0f}   {'   '.join(sides)}", flush=True)
    for precision, target in case.asked().items():
        ratio = statistics.median(turn.ours / turn.theirs[precision] for turn in turns)
        verdict = "reached" if ratio >= target else "MISSED"
        print(f"  median of {len(turns)} pair(s): {ratio:.2f} times Trainer {precision}; {target} asked: {verdict}")
    account(turns, case, given.clock)


def account(turns: Sequence[Turn], case: Case, clock: str) -> None:
    """What the sides say of themselves."""
    run = turns[-1].run
    for precision, peer in turns[-1].peers.items():
        told = ", ".join(f"{key} {value}" for key, value in peer.told.items() if key != "parameters")
        weights = f"{peer.told['parameters'] / 1e6:.1f}M weights"
        padding = statistics.median(turn.peers[precision].padding for turn in turns)
        print(
            f"  Trainer {precision}: {weights}, {told}"
            + (f"; {padding:.2f} tokens computed for a real one" if case.padded else "")
        )
    share = statistics.median(turn.run.useful_share(clock) for turn in turns)
    peaks = [turn.run.machine["peak"] / 1e9 for turn in turns]
    peak = f"GEMM peak of {statistics.median(peaks):.0f} Gflop/s ({min(peaks):.0f} to {max(peaks):.0f})"
    apart = max(turn.run.disagreement for turn in turns)
    print(f"  ours: {run.machine['precision']}, huge_pages {run.machine['huge_pages']}; useful {share:.0%} of a {peak}")
    print(f"  ours: metrics.jsonl and the clock outside at most {apart:.1%} apart; {loaded(run.folder / 'encoder')}")


def lengths(shards: Path, longest: int) -> str:
    """How long the documents are, cut as the peer cuts them."""
    import numpy as np

    from bothways.corpus import Shards

    opened = Shards.open(shards)
    tokens, _ = opened.train.read(0, opened.train.token_count)
    starts = np.flatnonzero(tokens == opened.vocabulary.cls)
    found = np.minimum(np.diff(np.append(starts, len(tokens))), longest)
    median, tenth = np.percentile(found, [50, 90])
    return (
        f"{len(found):,} documents: mean {found.mean():.0f} tokens, median {median:.0f}, one in ten above {tenth:.0f}"
    )


def loaded(encoder: Path) -> str:
    """Loads what the timed run saved with plain transformers and reads a text with it."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    tokenizer, model = AutoTokenizer.from_pretrained(encoder), AutoModelForMaskedLM.from_pretrained(encoder).eval()
    with torch.inference_mode():
        logits = model(**tokenizer("Return the [MASK] of the list.", return_tensors="pt")).logits
    assert logits.shape[-1] == model.config.vocab_size
    assert logits.isfinite().all()
    return f"the saved model is {type(model).__name__} for transformers, {model.num_parameters() / 1e6:.1f}M weights"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    found = common.parser((__doc__ or "").splitlines()[0], pairs=3, steps=2)
    found.add_argument("--rows", nargs="+", choices=CASES, default=list(CASES), help="which rows of the table")
    found.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)), help="the core that all sides get")
    found.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: without waiting for neighbours")
    found.add_argument("--peer-huge-pages", action="store_true", help="give the Trainer huge pages as well")
    found.add_argument("--peer-dropout", type=float, help="instead of BertConfig's own 0.1; ours has none")
    return common.parse(found, arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    given = parse(arguments)
    common.begin(("torch", "transformers", "accelerate"))
    by = {"wall": "the wall clock", "cpu": "processor time"}[given.clock]
    tokens, at_once = TRAINING.step_tokens, TRAINING.micro_tokens
    print(
        f"steps    {given.warmup} to warm up and {given.steps} measured, by {by}, on core {given.core} with one thread"
    )
    padded = f"{BATCHES_A_STEP} batch of {DOCUMENTS_AT_ONCE} documents"
    print(f"tokens   {tokens:,} a step, {at_once:,} at once, on both sides; padded: {padded} a step")
    print(f"ours     bothways pretrain --size mini --objective mlm --set {' --set '.join(common.LOOK_LESS)}")
    print("Trainer  BertForMaskedLM, 12 layers of width 256, 4 heads, FFN 1024, MLM 15 %")
    for name in given.rows:
        measure(name, given)


if __name__ == "__main__":
    main()
