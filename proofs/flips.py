"""One bit flipped in each file that something is read from: the command finds it, names the file, leaves with 5 or 3.

Made through the command line: shards, a pretraining run, a classifier, an adapter, two tasks at once with a teacher, a
model by preferences, PET, word vectors, a comparison. Then, for every file of each, a bit drawn by the seed is flipped,
and the command that reads it is run. Left out is what nothing is read from: the model's card, the pages, the
soft labels and scores that are made anew, and, of a run, checkpoints that it does not go on from.

    python proofs/flips.py [--flips 3] [--seed 0]

Two bits a file took an hour and a half on two cores that six other jobs shared; most of it are the runs that go on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bothways.training.state import checkpoints

TINY = ["--size", "1x64", "--set", "training.length=32", "--set", "training.step_tokens=256"]
QUICK = ["--set", "training.validation_rows=8", "--set", "training.schedule.warmup_steps=2"]
WORDS = ["cat", "dog", "bird", "man", "woman", "sees", "finds", "likes", "red", "blue", "old", "small", "house", "road"]
UNREAD = {"README.md", "soft.jsonl", "request"}
Case = tuple[str, Path, list[str], int]
"""(what it is, the folder, the command with IT in it, the exit code)."""


def do(*words: object) -> None:
    """Runs the command; what it says is shown where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "bothways", *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"FAILED to make what is to be damaged: {' '.join(map(str, words))}\n{done.stderr}")


def records(path: Path, rng: random.Random, count: int, *, kind: str) -> Path:
    """Labelled texts, pairs of answers, or texts alone."""

    def one() -> dict[str, str]:
        text = " ".join(rng.choices(WORDS, k=6))
        answers = {"prompt": text, "chosen": "red house", "rejected": "old road"}
        return (
            answers if kind == "prefer" else {"text": text, **({"label": rng.choice("ab")} if kind == "label" else {})}
        )

    path.write_text("".join(json.dumps(one()) + "\n" for _ in range(count)), encoding="utf-8")
    return path


def made(at: Path, rng: random.Random) -> Iterator[Case]:
    """Everything that is saved, and what reads it."""
    corpus = records(at / "corpus.jsonl", rng, 3000, kind="text")
    labelled, plain = (
        records(at / "labelled.jsonl", rng, 40, kind="label"),
        records(at / "plain.jsonl", rng, 40, kind="text"),
    )
    answers, shards, run = records(at / "answers.jsonl", rng, 24, kind="prefer"), at / "shards", at / "run"
    do("prepare", corpus, "--out", shards, "--vocabulary", 512, "--set", "validation=0.1")
    yield "shards", shards, ["verify", "IT"], 3
    yield "shards, trained on", shards, ["pretrain", "IT", "--out", "OTHER", "--budget", "3steps", *TINY, *QUICK], 3
    do("pretrain", shards, "--out", run, "--objective", "hybrid", "--budget", "12steps", *TINY, *QUICK)
    yield "encoder", run / "encoder", ["fill", "IT", "the [MASK] sees"], 5
    yield "decoder", run / "decoder", ["generate", "IT", "the cat", "--max-new-tokens", "2"], 5
    yield "pretraining", run, ["pretrain", "--resume", "--out", "IT"], 5
    quick = ["--set", "epochs=1", "--set", "batch=8"]
    for name, more in (("tuned", []), ("adapted", ["--adapter", "lora(rank=2)"])):
        do("finetune", run, "--task", "classify", "--train", labelled, "--out", at / name, *quick, *more)
        place = "adapter" if more else "model"
        yield name, at / name / place, ["predict", "IT", str(plain), "--out", "OTHER/predicted.jsonl"], 5
        yield f"{name}: going on", at / name, ["finetune", "--resume", "--out", "IT"], 5
    several = at / "tasks.yaml"
    one = f"{{task: classify, train: {labelled}, name: "
    several.write_text(f"- {one}first, teacher: {at / 'tuned'}}}\n- {one}second}}\n", encoding="utf-8")
    do("finetune", run, "--tasks", several, "--out", at / "several", *quick)
    yield "several: going on", at / "several", ["finetune", "--resume", "--out", "IT"], 5
    do("finetune", run, "--task", "prefer", "--train", answers, "--out", at / "preferred", *quick,
             "--set", "target_length=8", "--set", "dev_generated=2")  # fmt: skip
    yield "preferences: going on", at / "preferred", ["finetune", "--resume", "--out", "IT"], 5
    do("pet", run, "--train", labelled, "--unlabelled", plain, "--pattern", "{text} so [MASK]", "--verbaliser",
             "a=cat,b=dog", "--out", at / "pet", *quick, "--set", "repetitions=1", "--set", "steps=2")  # fmt: skip
    yield "PET: going on", at / "pet", ["pet", "--resume", "--out", "IT"], 5
    (at / "vectors").mkdir()
    do("word-vectors", shards, "--out", at / "vectors" / "words.vec", "--dim", 8, "--set", "min_count=1")
    yield "word vectors", at / "vectors", ["nearest", "IT/words.vec", "cat"], 5
    compared = ["--objectives", "causal; mlm", "--budget", "2e9flops", "--seeds", "1", "--set", "search.factors=[1]"]
    compared += ["--size", "1x64", "--set", "training.length=32", "--set", "training.step_tokens=256"]
    compared += ["--set", "validation_rows=8", "--set", "training.validation_rows=8"]
    do("compare", shards, *compared, "--out", at / "compared")
    yield "comparison: going on", at / "compared", ["compare", str(shards), *compared, "--out", "IT"], 5


def relied_on(folder: Path) -> list[Path]:
    """The files that are read when a command goes on, or a model is loaded."""
    models = ("encoder", "decoder", "model", "adapter", "search")
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        old = path.parent.name.startswith("step-") and path.parent != checkpoints(path.parent.parent)[-1]
        model = inside.parts[0] in models and len(inside.parts) > 1  # a run that goes on writes it anew
        written = path.suffix == ".html" or path.name in UNREAD or path.name == "comparison.json"
        if path.is_file() and not (old or model or written or ("runs" in inside.parts[:1] and not _measured(inside))):
            found.append(path)
    return found


def _measured(inside: Path) -> bool:
    """Of a finished run of a comparison: its record, and what was measured. Its model is not asked again."""
    return inside.name in ("config.yaml", "manifest.json", "metrics.jsonl") or "scores" in inside.parts


def flip(path: Path, rng: random.Random) -> str:
    """One bit of the file; of metrics.jsonl, before what its last checkpoint vouches for."""
    content = bytearray(path.read_bytes())
    place, bit = rng.randrange(_end(path, len(content))), rng.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {place}"


def _end(path: Path, size: int) -> int:
    saved = checkpoints(path.parent / "checkpoints") if path.name == "metrics.jsonl" else []
    return json.loads((saved[-1] / "state.json").read_text())["notes"]["metrics"]["bytes"] if saved else size


def run_in_a_child(words: Sequence[str], said: Path) -> int:
    """The command in a process that has imported everything already; its exit code."""
    child = os.fork()
    if child == 0:
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.argv = ["bothways", *words]
        code = 1
        try:
            _as_command()()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _as_command() -> Callable[[], None]:
    from bothways.__main__ import main

    return main


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=3, help="bits of each file")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rng, missed, total = random.Random(asked.seed), [], 0
    with tempfile.TemporaryDirectory() as place:
        at = Path(place)
        for name, folder, command, expected in made(at, rng):
            files, found, kept = relied_on(folder), 0, at / "kept"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept)
            for path in [path for path in files for _ in range(asked.flips)]:
                where = flip(path, rng)
                words = [word.replace("IT", str(folder)).replace("OTHER", str(at / "other")) for word in command]
                code, said = run_in_a_child(words, at / "said"), (at / "said").read_text(errors="replace")
                if code == expected and path.name in said:
                    found += 1
                else:
                    missed.append(f"{name}: {path.relative_to(folder)}, {where}: exit code {code}: {said[-300:]}")
                    print(missed[-1], flush=True)
                for made_by_it in (folder, at / "other"):
                    shutil.rmtree(made_by_it, ignore_errors=True)
                shutil.copytree(kept, folder)
            total += found
            print(f"{name:24s} {len(files):3d} files, {found} of {len(files) * asked.flips} flips found", flush=True)
    if missed:
        sys.exit("\n".join(["FAILED", *missed]))
    print(f"all {total} found, the file named")


if __name__ == "__main__":
    import bothways.cli
    import bothways.inference
    import bothways.training.finetuning
    import bothways.training.pretraining  # noqa: F401 - so that a child need not

    main()
