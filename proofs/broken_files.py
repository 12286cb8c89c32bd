"""Every file that is read, broken in every way; 1,000 broken configurations; 10,000 strings through our tokenizers.

Nothing may end in a traceback: what is wrong is named, with exit code 2, 3 or 5. Of a file that is read, damage
is found, and the message names the file; what was not found is counted as unseen (records cut between two lines, the
last digit of word vectors, a file of defaults that is empty).

    python proofs/broken_files.py [--configs 1000] [--strings 10000] [--seed 0]

Some fifteen minutes of one core.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, given, settings

from bothways.text import Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.broken import CONFIGS, STRINGS, Mutation, ask, damages, mutation, tokenized, unlike

SETTINGS = {
    "model.layers": 1,
    "training.length": 16,
    "training.step_tokens": 64,
    "training.micro_tokens": 32,
    "training.validation_rows": 4,
    "training.save_every": 2,
}
UNREAD = {"README.md", "report.html", "request", "special_tokens_map.json"}
"""Files that nothing reads, or only to see whether they are the same."""

ELSEWHERE = {"encoder", "decoder", "step-2", "step-3"}
"""Of a run: what is tried alone, and what a run that goes on from its last checkpoint does not open."""


def made(*words: object) -> None:
    """
    Raises:
        SystemExit: the command failed.
    """
    code, said = ask(*words)
    if code:
        sys.exit(f"{words}: {said}")


def prepared() -> dict[str, tuple[Path, tuple[object, ...]]]:
    """{what it is: (a file or folder, a command that reads the copy of it, which is called COPY)}."""
    rng = random.Random(0)
    words = [f"{first}{second}" for first in "bdgklmnprst" for second in ("an", "el", "ir", "os", "ut")]
    lines = [" ".join(rng.choices(words, k=12)) for _ in range(400)]
    Path("text.txt").write_text("\n".join(lines), encoding="utf-8")
    records = [f'{{"text": "{line}", "label": "{"yn"[number % 2]}"}}' for number, line in enumerate(lines[:40])]
    Path("few.jsonl").write_text("\n".join(records) + "\n", encoding="utf-8")
    made(
        "prepare", "text.txt", "--out", "shards", "--documents", "lines", "--vocabulary", 512, "--set", "validation=0.2"
    )
    sets = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    made("pretrain", "shards", "--out", "run", "--objective", "hybrid", "--size", "1x64", "--budget", "4steps", *sets)
    tune = ("finetune", "run", "--task", "classify", "--train", "few.jsonl", "--set", "epochs=1")
    made(*tune, "--out", "tuned")
    made(*tune, "--out", "adapted", "--set", "adapter=lora")
    made("word-vectors", "shards", "--out", "words.vec", "--set", "dim=8", "--set", "epochs=1")
    predicted = ("few.jsonl", "--out", "answers.jsonl")
    return {
        "encoder": (Path("run/encoder"), ("fill", "COPY", "an [MASK]", "--json")),
        "vectors": (Path("run/encoder"), ("embed", "COPY", "an el", "--json")),
        "decoder": (Path("run/decoder"), ("generate", "COPY", "an el", "--max-new-tokens", 2, "--json")),
        "classifier": (Path("tuned/model"), ("predict", "COPY", *predicted)),
        "adapter": (Path("adapted/adapter"), ("predict", "COPY", *predicted)),
        "shards": (Path("shards"), ("verify", "COPY")),
        "rows": (Path("shards"), ("show-rows", "COPY")),
        "run": (Path("run"), ("pretrain", "shards", "--resume", "--out", "COPY", "--budget", "4steps")),
        "records": (Path("few.jsonl"), ("predict", "tuned", "COPY", "--out", "answers.jsonl")),
        "words": (Path("words.vec"), ("nearest", "COPY", words[0])),
    }


def cases(source: Path) -> Iterator[tuple[str, str, Path]]:
    """(file, what happened to it, the copy) of every file of a folder, or of the one file."""
    files = [path for path in sorted(source.rglob("*")) if path.is_file()] if source.is_dir() else [source]
    files = [path for path in files if source.name != "run" or not {*path.parts} & ELSEWHERE]
    for file in files:
        for what, content in damages(file):
            copied = Path(f"copy{source.suffix}")
            if source.is_dir():
                shutil.rmtree(copied, ignore_errors=True)
                shutil.copytree(source, copied)
            broken = copied / file.relative_to(source) if source.is_dir() else copied
            broken.unlink(missing_ok=True)
            if content is not None:
                broken.write_bytes(content)
            yield str(file.relative_to(source)) if source.is_dir() else copied.name, what, copied


def read_broken(fault: Callable[[str], None]) -> int:
    """Every file of all that is read, in every state; how many there were."""
    count = 0
    for kind, (source, command) in prepared().items():
        codes: collections.Counter[str] = collections.Counter()
        for file, what, copied in cases(source):
            Path("answers.jsonl").unlink(missing_ok=True)
            code, said = ask(*(copied if word == "COPY" else word for word in command))
            count += 1
            codes[f"exit {code}"] += 1
            if code not in (0, 2, 3, 5) or "Traceback" in said:
                fault(f"{kind}: {file}, {what}: exit {code}: {said.strip()[-400:]}")
            elif code and Path(file).name not in said and what != "missing":
                fault(f"{kind}: {file}, {what}: the message does not name the file: {said.strip()[-300:]}")
            elif not code and what != "missing" and Path(file).name not in UNREAD and not said:
                codes[f"unseen: {file}"] += 1
        print(f"{kind:12s} {dict(codes)}", flush=True)
    return count


def configure(fault: Callable[[str], None], count: int, seed: int) -> None:
    """So many broken configurations, dealt out over the commands that read one."""
    codes: collections.Counter[int] = collections.Counter()
    for number in range(count):
        kind = [*CONFIGS][number % len(CONFIGS)]
        words, values = CONFIGS[kind]
        broken: Mutation = mutation(values, random.Random(f"{seed} {number}"))
        Path("config.yaml").write_bytes(broken.content)
        code, said = ask(*words, "--config", "config.yaml")
        codes[code] += 1
        if why := unlike(broken, code, said):
            fault(f"configuration {number} of {kind}: {why}: {said.strip()[-400:]}")
    print(f"configurations {dict(codes)}", flush=True)


def tokenize(fault: Callable[[str], None], count: int, seed: int) -> None:
    """So many strings through every kind of tokenizer that we train."""
    options = ("--documents", "lines", "--vocabulary", 600)
    for kind in ("bpe", "wordpiece"):
        made("prepare", "text.txt", "--out", f"shards-{kind}", *options, "--set", f"kind={kind}")
        print(f"{kind:12s} {dict(read_strings(fault, Tokenizer.load(f'shards-{kind}'), count, seed))}", flush=True)


def read_strings(fault: Callable[[str], None], tokenizer: Tokenizer, count: int, seed: int) -> collections.Counter[str]:
    """{what became of them: of how many}."""
    found = collections.Counter[str]()

    @hypothesis.seed(seed)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=[*HealthCheck])
    @given(STRINGS)
    def check(text: str) -> None:
        said = tokenized(tokenizer, text)
        found[said.partition(":")[0]] += 1
        if said.startswith("fault") and found["fault"] == 1:
            fault(f"{tokenizer.kind}: {text!r:.80}: {said}")

    check()
    return found


def main() -> None:
    """Breaks everything, and says what was not found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configs", type=int, default=1000)
    parser.add_argument("--strings", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    faults: list[str] = []

    def fault(what: str) -> None:
        faults.append(what)
        print(f"FAULT {what}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        count = read_broken(fault)
        configure(fault, given.configs, given.seed)
        tokenize(fault, given.strings, given.seed)
        os.chdir("/")
    print(f"{count:,} broken files, {given.configs:,} configurations, {given.strings:,} strings: {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
