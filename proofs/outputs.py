"""Every command that writes, on a disk that is full, read-only or not there, twice at once on one output, and killed.

Each is run as a user runs it, with a tiny model:
    full    on a small disk with room for a share of what it writes: exit code 6 and the free space, or room enough;
            nothing half-written is left, every checkpoint is whole, and once there is room it ends well
    shut    on a read-only disk, and where a file stands in a folder's place: exit code 6 before the work
    twice   while another writes there: exit code 2, the other is named, and ends as if it had been alone
    killed  by SIGKILL at random moments: the same command then ends well, with the same files and nothing beside them

    python proofs/outputs.py [COMMAND ...] [--shares 0.02 0.3 0.6 0.8 0.9 0.97] [--kills 3] [--seed 0]

About 20 minutes on one core. Every command is a process of its own, forked from this one, which has torch loaded. It
mounts small disks (tmpfs): who is not root does so in a namespace of his own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch

from bothways import cli
from bothways.training.state import checkpoints, read_record

TRAINING = {"length": 32, "step_tokens": 128, "micro_tokens": 128, "validation_rows": 4, "save_every": 2}
SMALL = ("--size=1x64", *(f"--set=training.{key}={value}" for key, value in TRAINING.items()))
STEPS = (*SMALL, "--budget=6steps")
SHORT = ("--set=epochs=2", "--set=length=32", "--set=batch=8")
HALF = re.compile(r"\.(partial|gone|claimed|half)$|^\.(tmp|tuned-|preparing$|untrained$|faces)")
TIMED = re.compile(r"manifest|metrics|report|README|compari|baselin|tensorb|checkp|scores|request|config\.yaml")
"""Files that hold times or the folder's name, or are compared otherwise."""
BEFORE = re.compile(r"loading|reading the text and the evaluation data|^$")
"""All that may be said before it is known that nothing can be written."""


@dataclass(frozen=True)
class Command:
    """A command that writes where --out says; `resume`: what it needs to go on."""

    name: str
    words: tuple[str, ...]
    resume: tuple[str, ...] = ()
    kind: str = "folder"

    def line(self, out: Path, *, again: bool = False) -> list[str]:
        """As a shell would be given it."""
        begun = any((out / place / "config.yaml").exists() for place in (".", "pet"))
        if again and begun and self.resume:
            words = (self.words[0], *self.resume)
        else:
            words = self.words
        return [*words, "--out", str(out)]


def commands(at: Path) -> list[Command]:
    """All that write, over what `make` left."""
    shards, run, train, bare = (str(at / name) for name in ("shards", "run", "train.jsonl", "bare.jsonl"))
    label = ("finetune", run, "--train", train, "--test", str(at / "test.jsonl"), "--task=classify", *SHORT)
    prefer = ("finetune", run, "--task=prefer", "--train", str(at / "pairs.jsonl"), *SHORT)
    pattern = ("--pattern={text} It was [MASK].", "--verbaliser=pos=good,neg=bad")
    pet = ("pet", run, "--train", train, "--unlabelled", bare, *pattern, "--set=epochs=1", "--set=length=32")
    versus = (
        "compare",
        shards,
        "--objectives=causal; mlm",
        "--seeds=1",
        "--budget=2e8flops",
        "--set=search.factors=[1]",
    )
    go_on = ("--resume",)
    return [
        Command("prepare", ("prepare", str(at / "text.txt"), "--set=vocabulary=512")),
        Command("pretrain", ("pretrain", shards, *STEPS), go_on),
        Command("electra", ("pretrain", shards, "--objective=electra", *STEPS), go_on),
        Command("tracked", ("pretrain", shards, "--track=tensorboard", *STEPS), go_on),
        Command("finetune", label, go_on),
        Command("adapter", (*label, "--adapter=lora(rank=2)"), go_on),
        Command("seeds", (*label, "--seeds=2")),
        Command("several", ("finetune", run, "--tasks", str(at / "tasks.yaml"), *SHORT), go_on),
        Command("prefer", prefer, go_on),
        Command("pet", pet, go_on),
        Command("compare", (*versus, *SMALL)),
        Command("merge", ("merge", str(at / "adapter"))),
        Command("predict", ("predict", str(at / "tuned"), bare), kind="file"),
        Command("prompt", ("prompt", run, bare, *pattern), kind="file"),
        Command("word-vectors", ("word-vectors", shards, "--set=dim=16", "--set=epochs=1"), kind="file"),
        Command("attention", ("attention", run, "a text to look at"), kind="file"),
    ]


def make(at: Path) -> None:
    """The text, records and models that the commands read."""
    rng, words = random.Random(0), ["good", "fine", "great", "bad", "poor", "awful"]
    texts = [f"it is {rng.choice(words)} and {rng.choice(words)}, said number {i} of us" for i in range(3000)]
    (at / "text.txt").write_text("\n\n".join(texts))

    def write(name: str, records: list[dict[str, object]]) -> None:
        (at / name).write_text("".join(json.dumps(one) + "\n" for one in records))

    labelled: list[dict[str, object]] = [{"text": text, "label": "pos" if "good" in text else "neg"} for text in texts]
    write("train.jsonl", labelled[:60])
    write("test.jsonl", labelled[60:90])
    write("bare.jsonl", [{"id": i, "text": text} for i, text in enumerate(texts[90:390])])
    write("pairs.jsonl", [{"prompt": one, "chosen": "it is good", "rejected": "it is bad"} for one in texts[:40]])
    files = {"train": str(at / "train.jsonl"), "test": str(at / "test.jsonl"), "task": "classify"}
    (at / "tasks.yaml").write_text(json.dumps({"tasks": [{"name": name, **files} for name in ("one", "other")]}))
    prepare, *_ = found = {command.name: command for command in commands(at)}
    for name, place in {prepare: "shards", "pretrain": "run", "finetune": "tuned", "adapter": "adapter"}.items():
        ended = run(found[name].line(at / place))
        check(ended.code == 0, name, "the material could not be made", ended)


class Running:
    """A command line at work in a process of its own."""

    def __init__(self, line: list[str]) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - until it has ended
        self.process = multiprocessing.get_context("fork").Process(target=self._main, args=(line,))
        self.process.start()

    def _main(self, line: list[str]) -> None:
        for stream in (1, 2):
            os.dup2(self._said.fileno(), stream)
        os.setpgid(0, 0)
        sys.argv = ["bothways", *line]
        cli.main()

    def signal(self, number: int) -> None:
        """As `kill` sends it."""
        os.kill(self.process.pid or 0, number)

    def end(self) -> Ended:
        """Waits for it."""
        self.process.join()
        self._said.seek(0)
        with self._said as said:
            return Ended(self.process.exitcode or 0, said.read().strip())


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    said: str

    @property
    def last(self) -> str:
        """The line of the error."""
        return self.said.rpartition("\n")[2]


def run(line: list[str]) -> Ended:
    return Running(line).end()


BROKEN: list[str] = []


def check(right: object, name: str, why: str, ended: Ended | None = None) -> None:
    """Notes what went wrong, and goes on."""
    if not right:
        said = f": exit code {ended.code}, {ended.said[-300:]}" if ended else ""
        BROKEN.append(f"{name}: {why}{said}")
        print(f"  FAILED {BROKEN[-1]}", flush=True)


@contextmanager
def disk(place: Path, size: int) -> Iterator[Path]:
    """A disk of so many bytes."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def remount(place: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(place)], check=True)


def half_written(place: Path) -> list[str]:
    return [str(path.relative_to(place)) for path in place.rglob("*") if HALF.search(path.name)]


def files(out: Path) -> dict[str, str]:
    """{name: SHA-256} of what is the same in every run."""
    found = sorted(out.rglob("*")) if out.is_dir() else [out]
    named = {str(path.relative_to(out.parent)): path for path in found if path.is_file()}
    return {name: sha256(path.read_bytes()).hexdigest() for name, path in named.items() if not TIMED.search(name)}


def other(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """The names of files that are not the same in both."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def whole(place: Path, name: str) -> None:
    """Nothing half-written is left, and every checkpoint is whole."""
    check(not (rest := half_written(place)), name, f"left half-written: {rest}")
    for folder in place.rglob("checkpoints"):
        for checkpoint in checkpoints(folder):
            read_record(checkpoint)


def full(command: Command, place: Path, used: int, shares: list[float]) -> str:
    codes = []
    for share in shares:
        with disk(place, max(4096, int(share * used) // 4096 * 4096)) as small:
            ended = run(command.line(small / "out"))
            codes.append(ended.code)
            named = ended.code == 6 and re.search(r"\(\d+ MiB free\)", ended.last)
            check(named or ended.code == 0, command.name, f"room for {share:.0%}", ended)
            check("Traceback" not in ended.said, command.name, f"room for {share:.0%}: a traceback", ended)
            whole(small, f"{command.name}, room for {share:.0%}")
            if ended.code and share == max(shares):
                remount(small, f"size={4 * used + 2**22}")
                ended = run(command.line(small / "out", again=True))
                check(ended.code == 0, command.name, "does not go on once there is room", ended)
                whole(small, f"{command.name}, gone on with")
    return " ".join(map(str, codes))


def shut(command: Command, place: Path) -> None:
    with disk(place, 2**20) as small:
        (small / "file").touch()
        blocked = run(command.line(small / "file" / "out"))
        remount(small, "ro")
        sealed = run(command.line(small / "out"))
        for ended, why in ((blocked, "A file stands where a folder is expected"), (sealed, "Read-only file system")):
            check(ended.code == 6 and why in ended.last, command.name, f"expected: {why}", ended)
            late = [line for line in ended.said.splitlines()[:-1] if not BEFORE.search(line)]
            check(not late, command.name, f"{why}: found only after {late}")


def twice(command: Command, place: Path, expected: dict[str, str]) -> None:
    out = place / "out"
    lock = out / ".claimed" if command.kind == "folder" else place / ".out.claimed"
    first = Running(command.line(out))
    while first.process.is_alive() and not (lock.exists() and lock.read_text()):
        time.sleep(0.001)
    first.signal(signal.SIGSTOP)
    second = run(command.line(out))
    first.signal(signal.SIGCONT)
    alone = first.end()
    named = f"is being written by process {first.process.pid} on " in second.last
    check(second.code == 2 and named, command.name, "the second is not refused by name", second)
    check(alone.code == 0, command.name, "the first was harmed", alone)
    check(not (odd := other(files(out), expected)), command.name, f"the first left other files than alone: {odd}")
    whole(place, f"{command.name}, twice")


def killed(command: Command, place: Path, expected: dict[str, str], seconds: list[float]) -> str:
    out, where = place / "out", []
    for moment in seconds:
        going = Running(command.line(out, again=True))
        time.sleep(moment)
        going.signal(signal.SIGKILL)
        going.end()
        where.append(f"{moment:.1f}s" + (f" ({half[0]})" if (half := half_written(place)) else ""))
    ended = run(command.line(out, again=True))
    done = "is there already" in ended.last  # killed too late
    check(ended.code == 0 or done, command.name, f"killed after {where}: does not go on", ended)
    odd = other(files(out), expected)
    check(not odd, command.name, f"killed after {where}: other files than left alone: {odd}")
    whole(place, f"{command.name}, killed after {where}")
    return ", ".join(where)


def prove(command: Command, place: Path, asked: argparse.Namespace, rng: random.Random) -> None:
    started = time.monotonic()
    ended = run(command.line(place / "alone"))
    took, out = time.monotonic() - started, place / "alone"
    check(ended.code == 0, command.name, "left alone", ended)
    whole(place, f"{command.name}, left alone")
    expected = {name.replace("alone", "out", 1): digest for name, digest in files(out).items()}
    used = sum(-(-path.stat().st_size // 4096) * 4096 for path in (out, *out.rglob("*")) if path.is_file())
    codes = full(command, place / "disk", used, asked.shares)
    shut(command, place / "disk")
    for name in ("twice", "killed"):
        (place / name).mkdir()
    twice(command, place / "twice", expected)
    moments = [rng.uniform(0.0, 1.0) * took for _ in range(asked.kills)]
    where = killed(command, place / "killed", expected, moments)
    print(f"{command.name:13} {took:5.1f} s  {used >> 10:5} KiB  full: {codes}  killed: {where}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="COMMAND")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.02, 0.3, 0.6, 0.8, 0.9, 0.97])
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--material", type=Path, help="a folder to keep in what the commands read, or to find it in")
    asked = parser.parse_args()
    if os.geteuid() and shutil.which("unshare"):
        os.execvp("unshare", ["unshare", "--user", "--map-root-user", "--mount", sys.executable, *sys.argv])
    os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        material = asked.material or Path(folder, "material")
        if not material.exists():
            material.mkdir()
            make(material)
        for command in commands(material):
            if command.name in asked.names or not asked.names:
                place = Path(folder, command.name)
                place.mkdir()
                prove(command, place, asked, random.Random(f"{asked.seed} {command.name}"))
                shutil.rmtree(place)
    if BROKEN:
        sys.exit("FAILED:\n" + "\n".join(BROKEN))
    print("PASSED: nothing half-written, nothing harmed, every refusal named")


if __name__ == "__main__":
    main()
