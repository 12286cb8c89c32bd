"""The dial of unmasking: tokens a second against quality, when so many tokens are said in 1, 2, 4, ... passes.

    python benchmarks/unmasking.py [--length 32] [--steps 1 2 4 8 16 32] [--rounds 3] [--tokens 4e6]

Two models of size tiny are trained on python-docs by the shipped command, once: one that unmasks, and one that reads
from left to right, as a judge. Then, with every number of steps in turns, one thread on one core:

- held-out beginnings are continued: tokens a second, and the bits per byte of what was drawn, to the judge; low is
  likely text, but so is saying the same again, so the share of different tokens stands beside it;
- half of the tokens of held-out text are hidden and said: the share that is right.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import common
import numpy as np

from bothways import load
from bothways.corpus import Rows, Shards
from bothways.inference import LanguageModel
from bothways.inference.decoding.options import Unmasking
from bothways.inference.decoding.sampling import Sampling
from bothways.inference.decoding.unmasking import MaskedRow, unmask
from bothways.training.evaluate import bits_per_byte

# A rate for every row, from little hidden to nearly all: who only ever saw a seventh hidden cannot begin from nothing.
OBJECTIVE = "diffusion"


@dataclass(slots=True)
class Continued:
    """What was written with one setting, and how long it took in each round."""

    prompts: list[str]
    texts: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def bits_per_byte(self, judge: LanguageModel) -> float:
        """Of the continuations, each after its prompt."""
        nats = judge.score(self.prompts).sum() - judge.score(self.texts).sum()
        return bits_per_byte(float(nats), sum(map(len, map(str.encode, self.continuations))))

    def different(self, judge: LanguageModel) -> float:
        """The share of different tokens in a continuation, on average."""
        written = [tokens for tokens in map(judge.engine.tokenizer.encode, self.continuations) if tokens]
        return statistics.mean(len(set(tokens)) / len(tokens) for tokens in written)

    @property
    def continuations(self) -> list[str]:
        """The texts without their prompts."""
        return [text.removeprefix(prompt) for text, prompt in zip(self.texts, self.prompts, strict=True)]


def held_out(shards: Shards, *, length: int, count: int) -> list[np.ndarray]:
    """Stretches of held-out text, spread evenly over all that cross no document's end."""
    rows = Rows(shards.validation, shards.vocabulary, length=length + 1, seed=None)
    special = sorted(shards.vocabulary.special)
    whole = [row for row in (rows[i].tokens[1:] for i in range(len(rows))) if not np.isin(row, special).any()]
    return [whole[i * len(whole) // count].astype(np.int64) for i in range(min(count, len(whole)))]


def right(model: LanguageModel, texts: Sequence[np.ndarray], steps: int) -> float:
    """The share of tokens that are said right when half of every text, drawn by its number, is hidden."""
    vocabulary, unmasking = model.engine.tokenizer.vocabulary, Unmasking(Sampling(temperature=0), steps)
    rows, truth = [], []
    for number, tokens in enumerate(texts):
        rng = np.random.default_rng(number)
        row = np.concatenate([[vocabulary.cls], tokens, [vocabulary.sep]])
        hidden = 1 + rng.permutation(len(tokens))[: len(tokens) // 2]
        truth.append(row.copy())
        row[hidden] = vocabulary.mask
        rows.append(MaskedRow(row, mask=vocabulary.mask, random=rng, unmasking=unmasking))
    places = [row.places for row in rows]
    unmask(model.engine, rows)
    hits = [row.tokens[at] == true[at] for row, at, true in zip(rows, places, truth, strict=True)]
    return float(np.concatenate(hits).mean())


def measure(model: LanguageModel, judge: LanguageModel, texts: Sequence[np.ndarray], given: argparse.Namespace) -> None:
    """Continues the first half of every text, with every number of steps and by the judge itself, in turns."""
    prompts = [model.engine.tokenizer.decode(tokens[: len(tokens) // 2]) for tokens in texts]
    settings = {f"{steps} steps": (model, {"steps": steps}) for steps in given.steps}
    settings["left to right"] = (judge, {})
    found = {name: Continued(prompts) for name in settings}
    for _ in range(given.rounds):
        for name, (writer, options) in settings.items():
            started = time.perf_counter()
            written = writer.generate(prompts, max_new_tokens=given.length, seed=0, **options)
            found[name].seconds.append(time.perf_counter() - started)
            found[name].texts = [one.full_text for one in written]
    slowest = found[f"{max(given.steps)} steps"].seconds
    print(f"  {'':14s} tokens/s    times  bits/byte  different  said right")
    for name, one in found.items():
        speed = given.length * len(prompts) / statistics.median(one.seconds)
        times = statistics.median(slow / own for slow, own in zip(slowest, one.seconds, strict=True))
        fills = model.engine.abilities.hidden is not None and name != "left to right"
        said = f"{right(model, texts, settings[name][1]['steps']):10.1%}" if fills else ""
        quality = f"{one.bits_per_byte(judge):9.3f}  {one.different(judge):8.1%}"
        print(f"  {name:14s} {speed:8,.0f}  {times:7.2f}  {quality}  {said}", flush=True)
    real = Continued(prompts, [model.engine.tokenizer.decode(tokens) for tokens in texts])
    print(f"  {'the real text':14s} {'':8s}  {'':7s}  {real.bits_per_byte(judge):9.3f}  {real.different(judge):8.1%}")


def trained(name: str, objective: str, shards: Path, given: argparse.Namespace) -> LanguageModel:
    """A model of size tiny by the shipped command, made once."""
    out = given.work / "runs" / f"{name}-{given.tokens:.0e}"
    if not (out / "report.html").is_file():
        print(f"training {out.name}: {objective}", flush=True)
        command = ["-m", "bothways", "pretrain", str(shards), "--out", str(out), "--objective", objective]
        common.call([*command, "--budget", f"{given.tokens:.0f}tokens"], cores={given.core})
    return load(out, device="cpu")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    found = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32], help="passes for all tokens")
    found.add_argument("--length", type=int, default=32, help="tokens of a continuation (default 32)")
    found.add_argument("--texts", type=int, default=32, help="held-out texts, of twice as many tokens (default 32)")
    found.add_argument("--rounds", type=int, default=3, help="how often the settings take turns (default 3)")
    found.add_argument("--objective", default=OBJECTIVE, help="of the model that unmasks (default %(default)s)")
    found.add_argument("--tokens", type=float, default=4e6, help="what both are trained on (default 4e6)")
    found.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)), help="the core it runs on")
    found.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "bothways-benchmarks")
    given = found.parse_args(arguments)
    for name in ("length", "texts", "rounds"):
        if getattr(given, name) < 1:
            found.error(f"--{name}: expected 1 or more, got {getattr(given, name)}")
    given.work.mkdir(parents=True, exist_ok=True)
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    given = parse(arguments)
    os.sched_setaffinity(0, {given.core})
    common.begin(("torch",))
    import torch

    torch.set_num_threads(1)
    folder = common.prepare("python-docs", given.work / "python-docs-8192", vocabulary=8192)
    judge = trained("judge", "causal", folder, given)
    model = trained("unmasks", given.objective, folder, given)
    texts = held_out(Shards.open(folder), length=2 * given.length, count=given.texts)
    print(f"{len(texts)} held-out texts of {2 * given.length} tokens, {given.rounds} rounds; model: {given.objective}")
    measure(model, judge, texts, given)


if __name__ == "__main__":
    main()
