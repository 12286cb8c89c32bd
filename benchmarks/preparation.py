"""`prepare` beside Hugging Face `datasets`: the same text, the same tokenizer, the same cores, in turns.

    python benchmarks/preparation.py [TEXT] [--rounds 3] [--length 512]

TEXT is a .txt file (or .txt.gz) of documents parted by blank lines; left out, it is the standard library's own
documentation ten times over, a number before each block. Every run is a process of its own. Ours is the shipped command
from file to finished folder: reading, composing, dropping duplicates, splitting, encoding, finding word starts,
hashing, writing. Theirs is what the Trainer's language-modelling examples do, timed from the first `map` on
(loading the file is not counted): tokenize, then join and cut into blocks of one length.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

Seconds = tuple[float, float]
"""By the clock, and of processor time, child processes included."""


def now() -> Seconds:
    used = os.times()
    return time.perf_counter(), used.user + used.system + used.children_user + used.children_system


def since(start: Seconds) -> Seconds:
    stop = now()
    return stop[0] - start[0], stop[1] - start[1]


def ours(text: Path, tokenizer: Path, work: Path) -> Seconds:
    """`bothways prepare` with the tokenizer given."""
    from bothways.corpus import PrepareOptions, prepare

    start = now()
    prepare([str(text)], out=work / "shards", options=PrepareOptions(tokenizer=tokenizer))
    return since(start)


def theirs(text: Path, tokenizer: Path, work: Path, length: int) -> Seconds:
    """`datasets.map`, twice."""
    import datasets
    from transformers import AutoTokenizer

    datasets.disable_progress_bars()
    tokens_of = AutoTokenizer.from_pretrained(tokenizer)
    processes = len(os.sched_getaffinity(0))
    documents = [block.strip("\n") for block in text.read_text(encoding="utf-8").split("\n\n")]
    datasets.Dataset.from_dict({"text": [document for document in documents if document]}).save_to_disk(work / "text")
    dataset = datasets.load_from_disk(work / "text")

    def tokenize(batch: dict[str, list[str]]) -> Any:
        return tokens_of(batch["text"], return_special_tokens_mask=True)

    def group(batch: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        joined = {name: list(chain.from_iterable(rows)) for name, rows in batch.items()}
        total = len(joined["input_ids"]) // length * length
        return {name: [row[i : i + length] for i in range(0, total, length)] for name, row in joined.items()}

    options: dict[str, Any] = {
        "batched": True,
        "load_from_cache_file": False,
        "num_proc": processes if processes > 1 else None,
    }
    start = now()
    dataset.map(tokenize, remove_columns=["text"], **options).map(group, **options)
    return since(start)


def in_a_process(side: str, text: Path, tokenizer: Path, length: int) -> Seconds:
    """One run of one side, in a process and a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="preparation-") as work:
        arguments = [side, str(text), str(tokenizer), work, str(length)]
        done = subprocess.run(
            [sys.executable, __file__, "--side", json.dumps(arguments)], check=True, stdout=subprocess.PIPE, text=True
        )
    clock, processor = json.loads(done.stdout.splitlines()[-1])
    return clock, processor


def numbered(pages: Iterable[str]) -> Iterator[str]:
    """Their blocks, which are documents of a plain file, with a number before each: none is a duplicate."""
    blocks = (block for page in pages for block in re.split(r"\n{2,}", page) if block.strip())
    return (f"{number}. {block}" for number, block in enumerate(blocks))


def make_text(given: Path | None, work: Path) -> Path:
    """The text as a plain file, so that neither side unpacks."""
    text = work / "text.txt"
    if given is None:
        from bothways.corpus.python_docs import python_docs

        content = "\n\n".join(numbered(page for _ in range(10) for page in python_docs()))
    else:
        content = (gzip.decompress(given.read_bytes()) if given.suffix == ".gz" else given.read_bytes()).decode()
    text.write_text(content, encoding="utf-8")
    return text


def compare(given: Path | None, rounds: int, length: int) -> None:
    """Both sides in turns, then medians."""
    from bothways.corpus import PrepareOptions, prepare

    with tempfile.TemporaryDirectory(prefix="preparation-") as folder:
        text = make_text(given, Path(folder))
        (told,) = prepare([str(text)], out=Path(folder) / "shards", options=PrepareOptions(sample=16 << 20)).sources
        if given is None and told.duplicates:
            sys.exit(f"expected no duplicates, got {told.duplicates}: ours would not encode them")
        tokenizer, size = Path(folder) / "shards" / "tokenizer", text.stat().st_size / 1e6
        print(f"{size:.1f} MB, {len(os.sched_getaffinity(0))} core(s), byte-level BPE given")
        runs: dict[str, list[Seconds]] = {"ours": [], "theirs": []}
        for turn in range(rounds):
            for side, times in runs.items():
                times.append(in_a_process(side, text, tokenizer, length))
                clock, processor = times[-1]
                print(f"{turn + 1}. {side:6} {clock:7.2f} s, {processor:7.2f} s of processor time", flush=True)
    for place, kind in enumerate(("clock", "processor time")):
        ratios = [b[place] / a[place] for a, b in zip(runs["ours"], runs["theirs"], strict=True)]
        speeds = [
            f"{side} {size / statistics.median(run[place] for run in times):.2f} MB/s" for side, times in runs.items()
        ]
        print(f"by the {kind}: {', '.join(speeds)}; median of pairs {statistics.median(ratios):.1f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description="prepare beside datasets.map and grouping")
    parser.add_argument("text", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        side, text, tokenizer, work, length = json.loads(arguments.side)
        places = Path(text), Path(tokenizer), Path(work)
        print(json.dumps(ours(*places) if side == "ours" else theirs(*places, int(length))))
    else:
        compare(arguments.text, arguments.rounds, arguments.length)


if __name__ == "__main__":
    main()
