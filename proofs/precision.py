"""bf16 learns as well as fp32: the same run twice, the losses on held-out text within one per cent.

python proofs/precision.py [SHARDS] [--tokens 5e6] [--size tiny] [--objective hybrid]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bothways
from bothways.config import read
from bothways.machine import bf16_instructions
from bothways.training.pretraining import PretrainConfig
from bothways.training.run_folder import RunFolder

ALLOWED = 0.01


def trained(shards: Path, out: Path, precision: str, asked: argparse.Namespace) -> dict[str, Any]:
    """The last validation line of a run."""
    training = {"budget": {"tokens": asked.tokens}, "precision": precision, "validate_every": 0.25}
    values = {"shards": shards, "out": out, "size": asked.size, "objective": asked.objective, "training": training}
    started = time.perf_counter()
    bothways.pretrain(read(PretrainConfig, values))
    last = [line for line in RunFolder(out).lines() if line["kind"] == "validation"][-1]
    losses = "  ".join(f"{name} {loss:.4f}" for name, loss in last["losses"].items())
    print(f"  {precision}  {losses}   ({time.perf_counter() - started:.0f} s)", flush=True)
    return last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="?", type=Path)
    parser.add_argument("--tokens", type=float, default=5e6)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--objective", default="hybrid")
    asked = parser.parse_args()
    if not bf16_instructions():
        print("This processor is no faster in bf16, and no run chooses it here: nothing to compare.")
        return
    with tempfile.TemporaryDirectory() as place:
        shards = asked.shards or Path(place) / "shards"
        if asked.shards is None:
            bothways.prepare(["python-docs"], out=shards)
        print(f"{asked.size}, {asked.objective}, {asked.tokens:.3g} tokens; bf16 by {bf16_instructions()}")
        found = {name: trained(shards, Path(place) / name, name, asked)["losses"] for name in ("fp32", "bf16")}
    apart = {name: found["bf16"][name] / loss - 1 for name, loss in found["fp32"].items()}
    print("bf16 against fp32: " + ", ".join(f"{name} {share:+.2%}" for name, share in apart.items()))
    if max(map(abs, apart.values())) > ALLOWED:
        sys.exit(f"FAILED: more than {ALLOWED:.0%} apart")
    print(f"PASSED: within {ALLOWED:.0%}")


if __name__ == "__main__":
    main()
