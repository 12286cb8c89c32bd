"""Every objective learns more than how common words are, is saved, opened again, and used in its own way.

python proofs/objectives.py [--tokens 2e6] [--out runs/objectives] [--only NAME ...]

Each is trained by one command on the text of this Python (those that need pairs on its functions and what is said of
them), at size tiny with all defaults. Its losses over words on held-out text must be clearly below the unigram model's,
and the saved run must do what the objective taught: write, fill a gap, embed or detect. A run that is there already is
not trained again. The last line says whether all hold.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bothways
from bothways.inference import LanguageModel
from bothways.inference.decoding.generate import method_of
from bothways.objectives import OBJECTIVES
from bothways.training.run_folder import RunFolder

OF_PAIRS = ("tlm", "xlm", "codebert")
NOT_OF_WORDS = ("discriminator", "rtd")
CLEARLY = 0.3  # nats below the unigram model
PROMPT, GAPPED = "Return the length of the", "Return the [GAP] of the list."


def command(*arguments: object) -> None:
    """The command line in a process of its own, as a user runs it."""
    subprocess.run([sys.executable, "-m", "bothways", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def trained(name: str, given: argparse.Namespace) -> RunFolder:
    source = "python-code" if name in OF_PAIRS else "python-docs"
    shards, run = given.out / source, RunFolder(given.out / name)
    if not (shards / "index.json").exists():
        command("prepare", source, "--out", shards)
    if run.manifest().get("status") != "done":
        going_on = ["--resume"] if (run.path / "config.yaml").exists() else [shards, "--objective", name]
        command("pretrain", *going_on, "--out", run.path, "--budget", f"{given.tokens:g}tokens")
    return run


def uses(model: LanguageModel) -> Iterator[str]:
    """What the saved model does of all that Bothways offers, in its own way."""
    trained = model.engine.abilities
    if way := method_of(trained):
        yield f"extend by {way}: {model.generate(PROMPT, max_new_tokens=8, temperature=0).full_text!r}"
    if "streams" in trained.decoding:
        yield f"extend in 2 passes: {model.generate(PROMPT, max_new_tokens=8, temperature=0, steps=2).full_text!r}"
    if trained.hidden or {"unmask", "fragment"} & trained.decoding.keys():
        yield f"infill: {model.infill(GAPPED, length=1)!r}"
    if "detect" in trained.decoding:
        verdicts = sorted(model.detect("Return the length of the banana."), key=lambda verdict: -verdict.replaced)
        yield f"detect: {verdicts[0].word!r} {verdicts[0].replaced:.0%}"
    if trained.faces or trained.reads:
        yield f"embed: {model.embed([PROMPT]).shape[1]} numbers"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=float, default=2e6)
    parser.add_argument("--out", type=Path, default=Path("runs/objectives"))
    parser.add_argument("--only", nargs="*", choices=list(OBJECTIVES), default=list(OBJECTIVES))
    given = parser.parse_args()
    failed = []
    for name in given.only:
        run = trained(name, given)
        unigram = run.manifest()["baselines"]["unigram"]["nats"]
        last = [line for line in run.lines() if line["kind"] == "validation"][-1]
        words = {key: loss for key, loss in last["losses"].items() if key not in NOT_OF_WORDS}
        learned = bool(words) and all(loss < unigram - CLEARLY for loss in words.values())
        said = list(uses(bothways.load(run.path)))
        losses = ", ".join(f"{key} {loss:.3f}" for key, loss in words.items())
        print(f"{name}: {losses}; unigram {unigram:.3f}: {'past it' if learned else 'NOT PAST IT'}")
        for line in said:
            print(f"    {line}")
        if not learned or not said:
            failed.append(name)
    print(f"all {len(given.only)} hold" if not failed else f"NOT HELD: {', '.join(failed)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
