"""SIGTERM and Ctrl-C at random moments of every command that takes a while: ended within 30 s, nothing half-written.

Each command runs once to its end, then again and again until a signal comes somewhere between its first and its last
moment. It must leave with 143 (130 after Ctrl-C) and a line that says so, or have ended already; leave no .partial file
behind; and the command that goes on must come to its end. Last, a model of 30 million weights is stopped in steps of a
minute and more.

    python proofs/stopping.py [--times 3] [--seed 0] [COMMAND ...]

Some ten minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

END = 30.0  # seconds
AT_THE_END = 2.0  # seconds in which a command may end by itself when a signal comes
SMALL = ("--size", "2x64", "--set", "training.length=64", "--set", "training.step_tokens=1024")
SMALL += ("--set", "training.micro_tokens=256", "--set", "training.validation_rows=16")
Words = list[str]
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


def start(words: Words, said: Path) -> subprocess.Popen[bytes]:
    """The command on one core a process; what it says goes into a file, so that no pipe keeps it waiting."""
    command = [sys.executable, "-m", "bothways", *words]
    with said.open("w") as file:
        return subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=file, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )


def must(words: Words, said: Path) -> float:
    """The seconds that a command takes to its end."""
    began = time.monotonic()
    if code := start(words, said).wait():
        sys.exit(f"FAILED: {' '.join(words)} left with {code}:\n{said.read_text()}")
    return time.monotonic() - began


def begun(out: Path) -> bool:
    return (out / "config.yaml").is_file()


def material(work: Path, said: Path) -> None:
    """What the commands are given: text, shards, records, a model and a fine-tuned one."""
    records = [{"text": f"{'not ' * (i % 2)}so bad {i % 7} and {i % 11}", "label": "ab"[i % 2]} for i in range(2000)]
    for name, some in (("few", records[:320]), ("many", records * 4)):
        (work / f"{name}.jsonl").write_text("\n".join(map(json.dumps, some)))
    (work / "text.txt").write_text("\n\n".join(one["text"] for one in records))
    must(["prepare", "python-docs", "--vocabulary", "2048", "--out", str(work / "shards")], said)
    must(["pretrain", str(work / "shards"), *SMALL, "--budget", "10steps", "--out", str(work / "model")], said)
    few = str(work / "few.jsonl")
    tuned = ["finetune", str(work / "model"), "--train", few, "--dev", few, "--set", "epochs=1"]
    must([*tuned, "--out", str(work / "tuned")], said)


def commands(work: Path) -> dict[str, tuple[Callable[[Path], Words], Callable[[Path], Words]]]:
    """{name: (its words, those of the command that goes on), both of the place that it writes to}."""
    shards, model, few = (str(work / one) for one in ("shards", "model", "few.jsonl"))
    two = ("--processes", "2")

    def pretrain(*more: str) -> Callable[[Path], Words]:
        return lambda out: ["pretrain", shards, *SMALL, "--budget", "60steps", "--out", str(out), *more]

    def finetune(*more: str) -> Callable[[Path], Words]:
        words = ["finetune", model, "--train", few, "--dev", few, "--set", "epochs=2", "--set", "batch=8"]
        return lambda out: [*words, "--out", str(out), *more]

    def goes_on(first: Callable[[Path], Words], *more: str) -> Callable[[Path], Words]:
        return lambda out: [first(out)[0], "--resume", "--out", str(out), *more] if begun(out) else first(out)

    def plain(*words: str) -> Callable[[Path], Words]:
        return lambda out: [*words, "--out", str(out)]

    again = {
        "prepare": plain("prepare", "python-docs", "--vocabulary", "4096"),
        "compare": plain(
            *("compare", shards, "--objectives", "causal; mlm", "--size", "2x64", "--budget", "15s"),
            *("--set", "search.factors=[1]", "--seeds", "1"),
        ),
        "search": plain(
            *("search", shards, "--objective", "mlm", "--size", "2x64", "--hours", "0.1"),
            *("--set", "space=[{rate: [0.5, 1]}]", "--set", "training.step_tokens=1024"),
        ),
        "predict": plain("predict", str(work / "tuned"), str(work / "many.jsonl")),
        "word-vectors": plain("word-vectors", shards, "--overwrite"),
        "embed": lambda out: ["embed", model, "--file", str(work / "text.txt"), "--json"],
    }
    runs = {"pretrain": (pretrain(), ()), "pretrain, 2 processes": (pretrain(*two), two)}
    runs |= {"finetune": (finetune(), ()), "finetune, 2 processes": (finetune(*two), two)}
    found = {name: (words, words) for name, words in again.items()}
    return found | {name: (words, goes_on(words, *more)) for name, (words, more) in runs.items()}


def left_behind(work: Path) -> Iterator[str]:
    """Files that are half-written; a run's checkpoints apart, which the command that goes on clears."""
    for path in work.rglob("*"):
        if path.name.endswith((".partial", ".half")) and "checkpoints" not in path.parts:
            yield str(path.relative_to(work))


def stop_once(words: Words, said: Path, number: signal.Signals, after: float) -> tuple[float, str]:
    """The seconds from the signal to the end, and what was wrong with that."""
    process = start(words, said)
    try:
        if process.wait(after) == 0:
            return 0.0, ""  # it had ended already
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    began = time.monotonic()
    code = process.wait()
    took, text = time.monotonic() - began, said.read_text()
    if code == 0 and took < AT_THE_END:
        return took, ""  # the signal came while it took itself apart
    wrong = [f"code {code}"] if code != CODES[number] else []
    wrong += ["a traceback"] if "Traceback" in text else []
    wrong += ["not said"] if "stopped" not in text else []
    wrong += [f"after {took:.1f} s"] if took > END else []
    return took, ", ".join(wrong) + (f": {text[-300:]}" if wrong else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="COMMAND")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, broken = random.Random(asked.seed), 0
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        said = work / "said"
        material(work, said)
        for name, (words, again) in commands(work).items():
            if asked.only and name not in asked.only:
                continue
            out = work / "out" / name.replace(" ", "-")
            whole = must(words(out), said)
            for _ in range(asked.times):
                shutil.rmtree(work / "out", ignore_errors=True)
                number, after = rng.choice(list(CODES)), rng.uniform(0.0, whole)
                took, wrong = stop_once(words(out), said, number, after)
                left = ", ".join(left_behind(work))
                wrong += f"; left: {left}" if left else ""
                must(again(out), said)
                broken += bool(wrong)
                moment = f"{number.name} {after:5.1f} s after its beginning"
                print(f"{'BROKEN' if wrong else 'held  '} {name:22} {moment}: {took:4.1f} s  {wrong}", flush=True)
        if not asked.only or "small" in asked.only:
            large = ("--size", "small", "--budget", "10steps", "--set", "training.step_tokens=131072")
            words = ["pretrain", str(work / "shards"), *large, "--out", str(work / "large")]
            took, wrong = stop_once(words, said, signal.SIGTERM, 75.0)
            wrong += "" if begun(work / "large") else "it had not begun"
            broken += bool(wrong)
            print(f"{'BROKEN' if wrong else 'held  '} small, in its first step: {took:4.1f} s  {wrong}", flush=True)
    sys.exit(f"FAILED: {broken} were not stopped as promised" if broken else 0)


if __name__ == "__main__":
    main()
