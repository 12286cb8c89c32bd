"""A corpus of a gigabyte is prepared: how long it takes, how much memory, and that a kill leaves no trace.

    python benchmarks/gigabyte.py [TEXT ...] [--megabytes 1000] [--kills 2]

The shipped command, in a process of its own: once undisturbed, then killed at random moments so many times and begun
again. Printed: seconds, the most memory that it and its children held together (resident, looked at ten times a
second), and the fingerprints of both corpora. TEXTs are repeated, a number before each block, until there is enough;
left out, they are the standard library's own documentation. About eight minutes on one core, and 4 GB of disk; exit
code 1 where more than 1.5 GiB are taken, or a fingerprint differs.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from preparation import numbered

from bothways.corpus import PrepareOptions, Shards
from bothways.corpus.readers import DocumentReader
from bothways.corpus.sources import find_sources

ALLOWED = 1.5  # GiB


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("texts", nargs="*", default=["python-docs"], help="as `bothways prepare` takes them")
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gigabyte-") as work:
        text, whole, killed = (Path(work) / name for name in ("text.txt", "whole", "killed"))
        size = write(text, given.texts, given.megabytes * 1_000_000)
        seconds, most = prepare(text, whole)
        print(
            f"{size / 1e6:.0f} MB: {seconds:.0f} s, {size / 1e6 / seconds:.1f} MB/s, {most:.2f} GiB at most", flush=True
        )
        rng = random.Random(0)
        for _ in range(given.kills):
            prepare(text, killed, kill_after=rng.uniform(0.1, 0.7) * seconds)
        prepare(text, killed)
        prints = [Shards.open(folder).fingerprint for folder in (whole, killed)]
        print(f"fingerprint {prints[0]}, after {given.kills} kills {prints[1]}")
    if most > ALLOWED or prints[0] != prints[1]:
        sys.exit(f"FAILED: {ALLOWED} GiB are allowed, and the fingerprint is to be the same")


def write(path: Path, texts: list[str], wanted: int) -> int:
    """The documents over and over, a number before each block: none is a duplicate; how many bytes there are."""
    reader, sources = DocumentReader(PrepareOptions()), find_sources(texts)
    blocks = numbered(text for _ in count() for one in sources for (text,) in one.read(reader))
    with path.open("wb") as file:
        while file.tell() < wanted:
            file.write(f"{next(blocks)}\n\n".encode())
        return file.tell()


def prepare(text: Path, out: Path, *, kill_after: float = float("inf")) -> tuple[float, float]:
    """Seconds and GiB of one run of the command."""
    start, most = time.perf_counter(), 0.0
    command = [sys.executable, "-m", "bothways", "prepare", str(text), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, resident(process.pid))
            if time.perf_counter() - start > kill_after:
                process.kill()
            time.sleep(0.1)
    if process.returncode and kill_after == float("inf"):
        sys.exit(f"FAILED: prepare ended with exit code {process.returncode}")
    return time.perf_counter() - start, most


def resident(pid: int) -> float:
    """GiB that a process and all below it have in memory."""
    found = 0
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        found = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
        below = [task.read_text(encoding="utf-8").split() for task in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has just ended
        return found / 2**20
    return found / 2**20 + sum(resident(int(child)) for children in below for child in children)


if __name__ == "__main__":
    main()
