"""From nothing to a language model in about five minutes on two cores: `make quickstart`.

Text that every Python brings with it is prepared, a tiny model learns to read it both ways, and then it is asked to
fill in words and to go on. Nothing is downloaded.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import bothways
from bothways.machine import cores

SHARDS, RUN = Path("runs/python-docs"), Path("runs/quickstart")
SECONDS = 280
STEP = ("--set", "training.step_tokens=4096", "--set", "training.micro_tokens=2048")
"""Twice the default, for two processes: by steps of 2,048 tokens they read less in the time (docs/results.md)."""
USUAL_STEPS = 380  # that two cores without bf16 did in that time, on a busy host: past the bigram (docs/results.md)


def command(*words: str) -> None:
    """Runs a bothways command and shows it, so that it can be tried again with other words."""
    print(f"\n$ bothways {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "bothways", *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    if not (SHARDS / "index.json").exists():
        command("prepare", "python-docs", "--out", str(SHARDS))
    if (RUN / "report.html").exists():
        print(f"{RUN} is there already: remove the folder to train again.")
    else:
        resume = ["--resume"] if (RUN / "manifest.json").exists() else []
        told = ["--out", str(RUN), "--budget", f"{SECONDS}s", "--processes", str(min(2, cores())), *STEP]
        command("pretrain", str(SHARDS), *told, *resume)
    show()


def show() -> None:
    manifest = json.loads((RUN / "manifest.json").read_text())
    lines = [json.loads(line) for line in (RUN / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["kind"] == "validation"][-1]
    grams = manifest["baselines"]

    print("\nHeld-out text               this model   unigram    bigram   trigram")
    rows = {
        "bits per byte": [last["bits_per_byte"]["causal"], *(gram["bits_per_byte"] for gram in grams.values())],
        "next word right": [last["next_accuracy"], *(gram["next_accuracy"] for gram in grams.values())],
        "hidden word right": [last["fill_accuracy"], grams["unigram"]["fill_accuracy"]],
    }
    for name, figures in rows.items():
        print(
            f"{name:25s}"
            + "".join(f"{figure:12.3f}" if i == 0 else f"{figure:10.3f}" for i, figure in enumerate(figures))
        )
    print("loss in nats: " + ", ".join(f"{name} {loss:.3f}" for name, loss in last["losses"].items()))
    if behind := too_little(last, grams["bigram"]):
        print(behind)

    model = bothways.load(RUN)
    print("\nHidden words, in sentences it never saw:")
    for fill in manifest["samples"]["fills"]:
        guesses = ", ".join(f"{_shown(answer['token'])} {answer['probability']:.0%}" for answer in fill["answers"])
        print(f"  {fill['text']}\n    {guesses}   (it was: {fill['hidden']})")
    print("\nBeginnings it goes on from:")
    for prompt in ("Return a list of", "If the file does not exist,", "This module provides"):
        print(f"  {model.generate(prompt, max_new_tokens=24, temperature=0.6, top_p=0.9, seed=1).full_text!r}")
    print(f"\nThe report: {RUN}/report.html    The model: {RUN}/encoder and {RUN}/decoder, for transformers")


def too_little(last: dict[str, Any], bigram: dict[str, Any]) -> str:
    """A line for a machine that got less far than the bigram in the time; "" where the model is ahead of it."""
    if last["bits_per_byte"]["causal"] < bigram["bits_per_byte"]:
        return ""
    further = f"bothways pretrain --resume --out {RUN} --budget {2 * USUAL_STEPS}steps --processes {min(2, cores())}"
    return (
        f"The model is behind the bigram: {last['step']} steps were done, two plain cores do {USUAL_STEPS}. "
        f"Go on with: {further}"
    )


def _shown(token: str) -> str:
    """Without the space before a word; white space alone as Python writes it."""
    return token.strip() or repr(token)


if __name__ == "__main__":
    main()
