"""Does a run take as long as `bothways plan` says? Both figures from one machine, one after the other.

    python proofs/planning.py [--shards SHARDS] [--size tiny] [--tokens 4e6] [--work FOLDER]

The plan tries random tokens for 20 s; the run that follows trains on real text. What is compared is the time of the
run's steps, validations and saving left out, as the plan says it. Fails if they are more than 15 % apart. Nothing else
should run beside it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bothways.training.run_folder import RunFolder

ALLOWED = 0.15


def bothways(*told: str) -> str:
    """What a command printed."""
    return subprocess.run(
        [sys.executable, "-m", "bothways", *told], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=Path, help="left out: the documentation that Python carries")
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--tokens", type=float, default=4e6)
    parser.add_argument("--work", type=Path, default=Path("runs/planning"))
    given = parser.parse_args()
    shards = given.shards or given.work / "shards"
    if given.shards is None and not shards.exists():
        bothways("prepare", "python-docs", "--out", str(shards))
    told: dict[str, Any] = json.loads(
        bothways("plan", str(shards), "--size", given.size, "--tokens", f"{given.tokens:g}", "--json")
    )
    run = given.work / f"run-{given.size}"
    shutil.rmtree(run, ignore_errors=True)  # of an earlier time
    bothways(
        "pretrain", str(shards), "--size", given.size, "--budget", f"{given.tokens:g}tokens", "--out", str(run),
        "--set", "training.validate_every=1", "--json",
    )  # fmt: skip
    steps = [line for line in RunFolder(run).lines() if line["kind"] == "train"]
    took = (steps[-1]["seconds"] - steps[0]["seconds"]) * len(steps) / (len(steps) - 1)
    apart = told["seconds"] / took - 1
    print(f"{given.size}: planned {told['seconds']:.0f} s, took {took:.0f} s: {apart:+.1%} ({ALLOWED:.0%} allowed)")
    sys.exit(abs(apart) > ALLOWED)


if __name__ == "__main__":
    main()
