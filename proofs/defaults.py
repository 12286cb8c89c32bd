"""Which settings of training make a better model in the same time? Each try beside the default, by seed and by text.

    python proofs/defaults.py --data FOLDER --work FOLDER [--size tiny] [--seconds 300] [--seeds 3] [--cores 0 1]
        [--objectives mlm causal hybrid electra] [--languages en zh] [--tries LABEL ...] [--set NAME=VALUE ...]
        [--tokens 2e6] [--table]

FOLDER of --data holds en_books*.txt.gz and zh_novels*.txt.gz. Every try is the shipped command with a few settings
(`TRIES`), on one core and one thread, for as many seconds as the default. Where there are two cores two tries run at
a time, not always beside the default; they change cores and order from seed to seed. --set is for all
of them: what has won already. On a busy machine --tokens is a budget in tokens instead: it leaves out what a try costs.

The figure is the loss on held-out rows, the same for all tries of a vocabulary, in nats a token. Other vocabularies
cut the same held-out documents into other tokens: their bits per byte are given as nats a token of the default's. Of
electra it is the loss of the detector, of its own generator's words: it serves to compare settings, not objectives.

A row is a file in WORK/rows-SIZE-BUDGET; what is done is not done again, and a run that was stopped goes on. The table
shows the differences to the default of the same seed with the 95 % interval of their mean (Student's t): a try has won,
or lost, where that does not reach 0. Each interval stands alone: of twenty tries that change nothing, chance lets one
win or lose, so what decides is that a try wins in several objectives and texts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bothways.corpus import Shards
from bothways.files import write_text
from bothways.model import preset
from bothways.statistics import Mean
from bothways.training.config import OptimiserConfig
from bothways.training.optimiser import rated
from bothways.training.run_folder import RunFolder

TEXTS = {"en": "en_books*.txt.gz", "zh": "zh_novels*.txt.gz"}
HIDING = ("mlm", "hybrid", "electra")  # objectives with a rate
DETECTING = "discriminator"
LOOK_LESS = ("training.validate_every=1", "training.validation_rows=512", "training.save_every=100000")
VOCABULARY = 8192


@dataclass(frozen=True, slots=True)
class Try:
    """What differs from the defaults.

    settings    as after --set, below `training` or `model`
    optimiser   its name
    times       both learning rates, in those by default
    rate        of what is hidden, where something is
    vocabulary  tokens
    """

    settings: tuple[str, ...] = ()
    optimiser: str = ""
    times: float = 1.0
    rate: str = ""
    vocabulary: int = VOCABULARY

    def expression(self, objective: str) -> str | None:
        """The objective as the command is given it; None: the try would not change it."""
        if self.rate:
            return f"{objective}(rate={self.rate})" if objective in HIDING else None
        return objective

    def all_settings(self, size: str) -> list[str]:
        """With the name of the optimiser and its rates, where they are not the default's."""
        named = OptimiserConfig.model_validate({"name": self.optimiser} if self.optimiser else {})
        rates = rated(named, width=preset(size, vocabulary=self.vocabulary).width)
        scaled = [f"training.optimiser.{name}={getattr(rates, name) * self.times}" for name in RATES]
        name = [f"training.optimiser.name={self.optimiser}"] if self.optimiser else []
        return [*name, *(scaled if self.times != 1 else []), *self.settings]


RATES = ("learning_rate", "adam_learning_rate")
CLASSIC = ("model.shape=classic", "model.segments=2")
DEFAULT = "default"
TRIES = {
    DEFAULT: Try(),
    **{f"rate x {times:g}": Try(times=times) for times in (0.5, 2.0)},
    **{f"steps of {tokens}": Try((f"training.step_tokens={tokens}",)) for tokens in (1024, 2048, 4096, 8192, 16384)},
    **{
        f"adamw x {times:g}, {tokens}": Try((f"training.step_tokens={tokens}",), optimiser="adamw", times=times)
        for tokens in (2048, 4096, 8192)
        for times in (0.5, 1.0, 2.0)
    },
    "warm-up of 20": Try(("training.schedule.warmup_steps=20",)),
    "longer cool-down": Try(("training.schedule.decay=0.6",)),
    "mask rate falls": Try(rate="0.3->0.15"),
    "vocabulary 4096": Try(vocabulary=4096),
    "vocabulary 16384": Try(vocabulary=16384),
    "untied": Try(("model.word_head=untied",)),
    "classic": Try(CLASSIC),
    "classic, factored": Try((*CLASSIC, "model.embedding_width=64")),
}


@dataclass(frozen=True, slots=True)
class Job:
    """A run of one try."""

    label: str
    objective: str
    language: str
    seed: int

    @property
    def name(self) -> str:
        """Of its row and its folder."""
        return "_".join(map(in_a_name, [self.label, self.objective, self.language, str(self.seed)]))


def in_a_name(text: str) -> str:
    """For the name of a file."""
    return "".join(letter if letter.isalnum() else "-" for letter in text)


class Proof:
    """Where everything lies, and what is done already."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.budget = f"{given.tokens:g}tokens" if given.tokens else f"{given.seconds:g}s"
        self.rows = given.work / "-".join(["rows", given.size, self.budget, *map(in_a_name, given.set)])
        self.rows.mkdir(parents=True, exist_ok=True)

    def jobs(self) -> Iterator[Job]:
        """All of them, a seed after the other, in an order that turns around with the seed."""
        labels = list(dict.fromkeys([DEFAULT, *self.given.tries]))
        for seed in range(self.given.seeds):
            for objective in self.given.objectives:
                for language in self.given.languages:
                    for label in labels[:: -1 if seed % 2 else 1]:
                        if TRIES[label].expression(objective):
                            yield Job(label, objective, language, seed)

    def shards(self, language: str, vocabulary: int) -> Path:
        """The text in so many tokens, prepared once."""
        out: Path = self.given.work / f"shards-{language}-{vocabulary}"
        if not (out / "index.json").exists():
            texts = sorted(self.given.data.glob(TEXTS[language]))
            if not texts:
                sys.exit(f"{self.given.data}: expected {TEXTS[language]}, found none")
            told = [*map(str, texts), "--out", str(out), "--vocabulary", str(vocabulary)]
            subprocess.run([sys.executable, "-m", "bothways", "prepare", *told], check=True)
        return out

    def row(self, job: Job) -> dict[str, Any] | None:
        """What a run has found; None: it is not done."""
        place = self.rows / f"{job.name}.json"
        return json.loads(place.read_text(encoding="utf-8")) if place.exists() else None

    def started(self, job: Job, core: int) -> subprocess.Popen[str]:
        """The command, pinned to a core; it goes on where it was stopped."""
        out, given = self.rows / job.name, TRIES[job.label]
        expression = given.expression(job.objective)
        assert expression is not None
        told = [str(self.shards(job.language, given.vocabulary)), "--objective", expression, "--size", self.given.size]
        settings = [*LOOK_LESS, *self.given.set, *given.all_settings(self.given.size), f"training.seed={job.seed}"]
        told += ["--budget", self.budget, *(word for setting in settings for word in ("--set", setting))]
        told = ["--resume"] if (out / "config.yaml").exists() else told
        return subprocess.Popen(
            ["taskset", "-c", str(core), sys.executable, "-m", "bothways", "pretrain", *told, "--out", str(out)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def keep(self, job: Job, process: subprocess.Popen[str]) -> None:
        """Waits for a run, and keeps what it has found in place of its folder; or why the try was refused."""
        told = process.communicate()[1]
        if process.returncode not in (0, 2):
            sys.exit(f"{job.name}: exit code {process.returncode}\n{told}")
        row = {"refused": told.strip()} if process.returncode else self.found(job)
        write_text(self.rows / f"{job.name}.json", json.dumps(row, indent=1) + "\n")
        shutil.rmtree(self.rows / job.name, ignore_errors=True)
        said = row.get("refused") or f"{row['nats']:.4f} nats, {row['steps']} steps, {row['seconds']:.0f} s"
        print(f"{job.label}, {job.objective}, {job.language}, seed {job.seed}: {said}", flush=True)

    def found(self, job: Job) -> dict[str, Any]:
        """The last validation of a run, its nats a token of the default's vocabulary."""
        run = RunFolder(self.rows / job.name)
        last, trained = run.last("validation"), run.last("train")
        own, plain = (
            Shards.open(self.shards(job.language, vocabulary)).validation.bytes_a_prediction
            for vocabulary in (TRIES[job.label].vocabulary, VOCABULARY)
        )
        losses = last["losses"]
        nats = losses.get(DETECTING) or sum(losses.values()) / len(losses) * plain / own
        return {
            **asdict(job),
            **{key: last[key] for key in ("loss", "losses", "fill_accuracy", "next_accuracy", "flops")},
            **{key: trained[key] for key in ("steps", "tokens", "seconds")},
            "nats": nats,
            "machine": run.noted("machine"),
        }


def run(proof: Proof) -> None:
    """All that is not done, as many at a time as there are cores."""
    left = [job for job in proof.jobs() if proof.row(job) is None]
    for job in left:
        proof.shards(job.language, TRIES[job.label].vocabulary)  # before the clocks run
    cores = proof.given.cores
    for i in range(0, len(left), len(cores)):
        some = left[i : i + len(cores)]
        own = cores[:: -1 if some[0].seed % 2 else 1]
        began = [(job, proof.started(job, core)) for job, core in zip(some, own, strict=False)]
        try:
            for job, process in began:
                proof.keep(job, process)
        finally:
            for _, process in began:
                process.terminate()  # where another has failed: it saves, and goes on the next time


def table(proof: Proof) -> None:
    """A table for every objective and text, and what won how often."""
    won: dict[str, list[str]] = {label: [] for label in TRIES}
    for objective in proof.given.objectives:
        for language in proof.given.languages:
            rows = {
                (job.label, job.seed): proof.row(job)
                for job in proof.jobs()
                if (job.objective, job.language) == (objective, language)
            }
            title = f"{objective}, {language}, {proof.given.size}, {proof.budget}"
            print(f"\n| {title} | nats | to the default | 95 % | points of fills | by seed | |")
            print("|---|---|---|---|---|---|---|")
            for label in dict.fromkeys(label for label, _ in rows):
                verdict, line = compared(rows, label, proof.given.seeds)
                print(line)
                won[label].append(verdict)
    print()
    for label, verdicts in won.items():
        if label != DEFAULT and verdicts:
            print(f"{label}: won {verdicts.count('won')}, lost {verdicts.count('lost')} of {len(verdicts)}")


def compared(rows: dict[tuple[str, int], Any], label: str, seeds: int) -> tuple[str, str]:
    """Whether a try has won, lost or neither, and its line of the table: over the seeds that both have."""
    pairs = [(rows.get((label, seed)), rows.get((DEFAULT, seed))) for seed in range(seeds)]
    both = [(own, plain) for own, plain in pairs if own and plain and "nats" in own and "nats" in plain]
    refused = next((own["refused"] for own, _ in pairs if own and "refused" in own), "not done")
    if not both:
        return "neither", f"| {label} | {refused} | | | | | |"
    apart = Mean.of([own["nats"] - plain["nats"] for own, plain in both])
    fills = [100 * (own["fill_accuracy"] - plain["fill_accuracy"]) for own, plain in both if own["fill_accuracy"]]
    points = f"{Mean.of(fills).mean:+.2f}" if fills else ""
    nats = Mean.of([own["nats"] for own, _ in both]).mean
    verdict = "neither" if not abs(apart.mean) > apart.half else "won" if apart.mean < 0 else "lost"
    by_seed = " ".join(f"{value:+.3f}" for value in apart.values)
    half = f"± {apart.half:.3f}" if len(both) > 1 else "one seed"
    figures = [f"{nats:.3f}", f"{apart.mean:+.3f}", half, points, by_seed, verdict]
    return verdict, f"| {label} | {' | '.join(figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--tokens", type=float, help="a budget of tokens in place of seconds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cores", nargs="+", type=int, default=sorted(os.sched_getaffinity(0))[:2])
    parser.add_argument("--objectives", nargs="+", default=["mlm", "causal", "hybrid", "electra"])
    parser.add_argument("--languages", nargs="+", choices=list(TEXTS), default=list(TEXTS))
    parser.add_argument("--tries", nargs="+", choices=list(TRIES), default=list(TRIES), metavar="LABEL")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of all, the default too")
    parser.add_argument("--table", action="store_true", help="only print what is done")
    proof = Proof(parser.parse_args())
    if not proof.given.table:
        run(proof)
    table(proof)


if __name__ == "__main__":
    main()
