"""On a machine with one GPU, in about ten minutes: does it compute what the CPU computes, and how fast?

    python benchmarks/gpu.py [--seconds 60] [--work FOLDER] [--tiny]

1. losses    the same ten steps in float32 on the GPU and, with the GPU hidden, on the CPU: how far they are apart
2. pretrain  `small` and a body of 29M (12x448), hybrid, with the command's defaults: tokens a second, the useful share
             of what the GPU multiplied when it was measured, its peak memory
3. finetune  `classify` on top of the smaller of them: examples a second, and the score
4. generate  128 tokens after one prompt and after sixteen: tokens a second, in float32 and bf16

All by the shipped commands and `bothways.load`, in bf16 where the GPU has it and with PyTorch's own attention. --tiny,
and a machine without a GPU, does the same with two layers and few steps, so that the script itself is tested. It was
never run on a GPU: what it prints there is the first that is known.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np
import torch

import bothways
from bothways.corpus import Shards
from bothways.machine import dtype_of, precision_for

STEPS = 10
PROMPTS = ("Return the", "The file is", "If no argument is given,", "This method")


def run(shards: Path, out: Path, *, size: str, budget: str, hidden: bool = False, **settings: object) -> Path:
    """`bothways pretrain`; `hidden`: as if there were no GPU."""
    common.shutil.rmtree(out, ignore_errors=True)
    words = [word for key, value in settings.items() for word in ("--set", f"training.{key}={value}")]
    command = [sys.executable, "-m", "bothways", "pretrain", str(shards), "--out", str(out), "--size", size]
    environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": ""} if hidden else {})}
    subprocess.run([*command, "--budget", budget, *words], env=environment, check=True, stdout=subprocess.DEVNULL)
    return out


def lines(folder: Path) -> list[dict[str, Any]]:
    """The steps of a run."""
    every = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [line for line in every if line["kind"] == "train"]


def apart(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> float:
    """The largest difference of two runs' losses, step by step, as a share of the loss."""
    return max(abs(a["loss"] - b["loss"]) / b["loss"] for a, b in zip(one, other, strict=True))


def losses(shards: Path, work: Path, size: str) -> None:
    shared = {"size": size, "budget": f"{STEPS}steps", "precision": "fp32", "step_tokens": 4096}
    here = lines(run(shards, work / "here", **shared))
    there = lines(run(shards, work / "cpu", hidden=True, **shared))
    print(f"losses    {STEPS} steps of {size}: at most {apart(here, there):.1e} of the loss apart", flush=True)


def pretrain(shards: Path, work: Path, size: str, budget: str) -> Path:
    folder = run(shards, work / size, size=size, budget=budget)
    steps, manifest = lines(folder), json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    half = steps[len(steps) // 2 :]
    speed = sorted(line["tokens_per_second"] for line in half)[len(half) // 2]
    share = speed * half[-1]["flops"] / half[-1]["tokens"] / manifest["machine"]["peak"]
    print(
        f"pretrain  {size}: {speed:,.0f} tokens a second, {share:.0%} useful, {manifest['machine']['precision']}, "
        f"loss {steps[0]['loss']:.3f} to {steps[-1]['loss']:.3f} in {len(steps)} steps",
        flush=True,
    )
    return folder


def finetune(shards: Path, model: Path, work: Path, examples: int) -> None:
    """Is the first paragraph of a document longer than most?"""
    opened = Shards.open(shards)
    tokens, _ = opened.train.read(0, min(opened.train.token_count, 2**21))
    documents = np.split(tokens, np.flatnonzero(tokens == opened.vocabulary.cls)[1:])[:examples]
    whole = (opened.tokenizer.decode(document.tolist()).strip() for document in documents)
    texts = [text.split("\n\n")[0] for text in whole if text]
    middle = sorted(map(len, texts))[len(texts) // 2]
    records = [{"text": text, "label": "long" if len(text) > middle else "short"} for text in texts]
    file = work / "labelled.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    out = work / "tuned"
    common.shutil.rmtree(out, ignore_errors=True)
    options = ["--task", "classify", "--train", str(file), "--out", str(out), "--set", "epochs=1"]
    subprocess.run(
        [sys.executable, "-m", "bothways", "finetune", str(model), *options], check=True, stdout=subprocess.DEVNULL
    )
    every = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line["seconds"] for line in every if line["kind"] == "train"]
    score = next(line["scores"] for line in reversed(every) if line["kind"] == "validation")
    speed = len(records) * (len(steps) - 1) / len(steps) / (steps[-1] - steps[0])
    print(f"finetune  {speed:,.0f} examples a second, {score}", flush=True)


def generate(model: Path, new: int) -> None:
    for precision in dict.fromkeys(("fp32", precision_for())):
        loaded = bothways.load(model, dtype=dtype_of(precision))
        for count in (1, 16):
            prompts = [PROMPTS[i % len(PROMPTS)] for i in range(count)]
            options: Any = {"max_new_tokens": new, "temperature": 0}
            loaded.generate(prompts, **options)  # to warm up
            began = time.perf_counter()
            found = loaded.generate(prompts, **options)
            tokens = sum(len(one.tokens) for one in found)
            speed = tokens / (time.perf_counter() - began)
            print(f"generate  {count:2} at once, {precision}: {speed:,.0f} tokens a second", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = common.parser(__doc__ or "", pairs=1)
    parser.add_argument("--seconds", type=int, default=60, help="of each pretraining (default %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="two layers and few steps; without a GPU always")
    parser.add_argument("--shards", type=Path, help="left out, Python's documentation is prepared")
    given = common.parse(parser, arguments)
    common.begin(("torch",))
    gpu = torch.cuda.is_available()
    tiny = given.tiny or not gpu
    print(
        f"device   {torch.cuda.get_device_name() if gpu else 'no GPU: nothing here says how fast one is'}", flush=True
    )
    shards = given.shards or common.prepare("python-docs", given.work / "python-docs-8192", vocabulary=8192)
    losses(shards, given.work, "2x64" if tiny else "mini")
    sizes = ("2x64", "2x128") if tiny else ("small", "12x448")
    budget = "4steps" if tiny else f"{given.seconds}s"
    folders = [pretrain(shards, given.work, size, budget) for size in sizes]
    if gpu:
        print(f"memory    {torch.cuda.max_memory_allocated() / 1e9:.1f} GB in this process", flush=True)
    finetune(shards, folders[-1], given.work, 80 if tiny else 4000)
    generate(folders[0], 8 if tiny else 128)


if __name__ == "__main__":
    main()
