"""A run does not grow: memory and open files after warm-up, over validations and checkpoints, within two per cent.

python proofs/memory.py [SHARDS] [--minutes 30]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import bothways
from bothways.config import read
from bothways.training.pretraining import PretrainConfig

ALLOWED = 0.02
WARM = 0.25  # of the steps: by then it has validated and saved


def memory() -> float:
    """MiB of this process that stand in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    sys.exit("FAILED: needs Linux, whose /proc/self/status says how much memory a process has")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="?", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    asked = parser.parse_args()
    used: list[float] = []
    files: list[int] = []

    def watch(line: dict[str, Any]) -> None:
        if line["kind"] == "train":
            used.append(memory())
            files.append(len(list(Path("/proc/self/fd").iterdir())))

    with tempfile.TemporaryDirectory() as place:
        shards = asked.shards or Path(place) / "shards"
        if asked.shards is None:
            bothways.prepare(["python-docs"], out=shards)
        training = {"budget": {"seconds": 60 * asked.minutes}, "validate_every": 0.05, "save_every": 20}
        training |= {"step_tokens": 2048, "validation_rows": 64}
        values = {"shards": shards, "out": Path(place) / "run", "training": training}
        bothways.pretrain(read(PretrainConfig, values), show=watch)
    warm, part = round(len(used) * WARM), round(len(used) * 0.1)
    early, late = (statistics.median(used[at : at + part]) for at in (warm, len(used) - part))
    growth = late / early - 1
    print(
        f"{early:.0f} MiB after {warm} steps, {late:.0f} MiB after {len(used)}: {growth:+.2%} (largest {max(used):.0f})"
    )
    print(f"open files: {files[warm]}, then {files[-1]}")
    if growth > ALLOWED or files[-1] > files[warm]:
        sys.exit(f"FAILED: grew by more than {ALLOWED:.0%}, or opened files and did not close them")
    print(f"PASSED: within {ALLOWED:.0%}")


if __name__ == "__main__":
    main()
