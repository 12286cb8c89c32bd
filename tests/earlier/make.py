"""Makes what a release leaves on disk, small, so that every later one can be asked to open it (test_earlier.py).

    python tests/earlier/make.py 0.1.0

Shards, and a finished run on them with its model and its last checkpoint, as `0.1.0.tar.gz` beside this script; by the
`bothways` that is on the path. Some 100 kB.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

WORDS = ["cat", "dog", "bird", "man", "woman", "sees", "finds", "likes", "red", "blue", "old", "small", "house", "road"]
MODEL = {"width": 16, "heads": 1, "inner": 32}
SETTINGS = {"length": 32, "step_tokens": 128, "validation_rows": 4, "save_every": 4, "schedule.warmup_steps": 2}


def main(name: str) -> None:
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        at = Path(place)
        texts = "\n\n".join(" ".join(rng.choices(WORDS, k=8)) + "." for _ in range(400))
        (at / "text.txt").write_text(texts + "\n", encoding="utf-8")
        bothways(at, "prepare", "text.txt", "--out", "shards", "--vocabulary", "512", "--set", "validation=0.1")
        given = {f"training.{key}": value for key, value in SETTINGS.items()}
        given |= {f"model.{key}": value for key, value in MODEL.items()}
        settings = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        bothways(at, "pretrain", "shards", "--out", "run", "--objective", "mlm", "--size", "1x64",
                 "--set", "training.budget.steps=8", *settings)  # fmt: skip
        with tarfile.open(Path(__file__).with_name(f"{name}.tar.gz"), "w:gz") as packed:
            for part in ("shards", "run"):
                packed.add(at / part, part, filter=plain)


def bothways(at: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "bothways", *words], cwd=at, check=True, stdout=subprocess.DEVNULL)


def plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without whose it was and when; without the page, and all checkpoints but the last."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return None if info.name.endswith((".html", "/request", "step-4", "step-6", "step-7")) else info


if __name__ == "__main__":
    main(sys.argv[1])
