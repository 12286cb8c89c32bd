"""Small models that are taught to write: pretrained beside random weights, the ways of teaching beside each other, and
what writes without learning anything.

    python proofs/writing.py --data FOLDER --work FOLDER [--tasks csl_title ...] [--parts start ways] [--seeds 3]

FOLDER of --data holds pretrain/, tasks/ and parallel/. The bodies are ours, one of English, one of Chinese and one of
both, pretrained by the default objective on `--tokens` each, with rows of 512 and steps of 4,096 tokens.

- start: each task taught in its default way from the pretrained body and from the same body after one step, over
  seeds; beside them the first sentence, the sentence nearest to the whole text, and the source itself.
- ways: the six ways of teaching on csl_title and squad_qg, each with as many FLOPs as `--epochs` of the causal one, in
  whole epochs, by steps of 8 examples at a rate of 1e-3.

Scores are of the test rows (`--rows` of them) with the mean over seeds and its interval, and the same with sources of
other examples: whether the source is used. What is done is not done again: every row is a run in --work.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bothways.corpus import PrepareOptions, prepare
from bothways.corpus.records import read_records
from bothways.statistics import Mean, bootstrap
from bothways.tasks.sentence_choice import centralities
from bothways.tasks.text_scores import TextScores
from bothways.text.sentences import split_sentences
from bothways.training.finetuning import FinetuneConfig, finetune
from bothways.training.finetuning.batches import batches_of
from bothways.training.finetuning.setup import set_up
from bothways.training.pretraining import pretrain
from bothways.training.processes import processes
from bothways.training.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Kind:
    """A task: where its files are, its body, its preset, and the columns of its files."""

    folder: str
    body: str
    task: str
    source: str
    target: str
    train: int = 2000


TASKS = {
    "csl_title": Kind("tasks/csl_title", "zh", "summarise", "article", "summary"),
    "squad_qg": Kind("tasks/squad_qg", "en", "question-generation", "sentence", "question"),
    "scitldr": Kind("tasks/scitldr", "en", "summarise", "article", "summary", 600),
    "aeslc": Kind("tasks/aeslc", "en", "summarise", "article", "summary", 1000),
    "tatoeba_en_zh": Kind("parallel/tatoeba_en_zh", "en+zh", "translate", "en", "zh", 4000),
    "classical_modern_zh": Kind("parallel/classical_modern_zh", "zh", "translate", "classical", "modern", 3000),
}
TEXTS = {
    "en": ("en_books_open", "en_speeches", "en_reference", "en_pydocs"),
    "zh": ("zh_technical", "zh_history_modern", "zh_weekly_tech", "zh_novels_open"),
}
TEXTS["en+zh"] = (*TEXTS["en"], *TEXTS["zh"])
COUNTED = 8  # steps
WAYS = ("causal", "prefix", "unilm1", "mass", "bang", "seq2seq")


def rows_of(given: argparse.Namespace, name: str, split: str, most: int) -> Path:
    """The records of a split under the names that tasks know, at most so many. Where there is no test, dev is it, and
    dev is cut from train; where there is no dev, too."""
    kind, out = TASKS[name], given.work / "data" / f"{name}-{split}-{most}.jsonl"
    if out.exists():
        return out
    there = {one: sorted((given.data / kind.folder).glob(f"{one}.jsonl*")) for one in ("train", "dev", "test")}
    cut = split == "dev" and not (there["dev"] and there["test"])
    (file, *_) = there["train"] if cut else there[split] or there["dev"]
    start = kind.train if cut else 0
    read = (record for _, _, record in islice(read_records(file), start, start + most))
    found = [{"source": one[kind.source], "target": one[kind.target]} for one in read]
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in found if one["source"] and one["target"])
    out.write_text("".join(lines), encoding="utf-8")
    return out


def body_of(given: argparse.Namespace, language: str, *, trained: bool) -> Path:
    """The run of a body, pretrained or after one step."""
    shards = given.work / f"shards-{language}"
    if not (shards / "index.json").exists():
        texts = [given.data / "pretrain" / f"{text}.txt.gz" for text in TEXTS[language]]
        prepare(texts, out=shards, options=PrepareOptions(vocabulary=8192))
    out = given.work / f"{language}-{'trained' if trained else 'random'}"
    if not (out / "report.html").exists():
        budget = {"tokens": given.tokens} if trained else {"steps": 1}
        training = {"budget": budget, "length": 512, "step_tokens": 4096}
        pretrain(shards, out=out, size=given.size, training=training, **again(out))
    return out


def again(out: Path) -> dict[str, Any]:
    """A run that was stopped goes on."""
    return {"resume": True} if (out / "config.yaml").exists() else {}


def settings_of(given: argparse.Namespace, name: str, body: Path, out: Path, **settings: Any) -> FinetuneConfig:
    """A run of a task."""
    return FinetuneConfig(
        model=str(body),
        task=TASKS[name].task,
        train=rows_of(given, name, "train", TASKS[name].train),
        dev=rows_of(given, name, "dev", 200),
        test=rows_of(given, name, "test", given.rows),
        out=out,
        skip_bad=True,
        **settings,
    )


def done(out: Path) -> bool:
    """Whether a run has come to its end."""
    return (out / "manifest.json").exists() and RunFolder(out).manifest().get("status") == "done"


def taught(given: argparse.Namespace, name: str, body: Path, out: Path, **settings: Any) -> dict[str, Any]:
    """The manifest of a run; done once."""
    if not done(out):
        config = settings_of(given, name, body, out, **settings)
        finetune(config, **again(out), say=lambda text: print(f"  {out.name}: {text}", flush=True))
    return RunFolder(out).manifest()


def flops_an_epoch(given: argparse.Namespace, name: str, body: Path, way: str) -> float:
    """Of a way of teaching, by its first steps."""
    out = given.work / "counted"
    shutil.rmtree(out, ignore_errors=True)
    with processes() as team:
        run = set_up(settings_of(given, name, body, out, objective=way), team, resume=False)
    batches = batches_of(run)
    for step in range(COUNTED):
        batches(step, 0.0)
    return float(run.state.notes["flops"]) / COUNTED * run.steps


def shown(values: Sequence[float]) -> str:
    """The mean of several runs with half of its interval; one run's value."""
    found = Mean.of(values)
    return f"{found.mean:.3f}" + (f" ± {found.half:.3f}" if len(values) > 1 else "")


def summarised(label: str, runs: Sequence[dict[str, Any]]) -> str:
    """A line of the table: scores, and with sources of other examples."""
    cells = [shown([run["test"][name] for run in runs]) for name in ("rougeL", "bleu", "chrf", "copied")]
    others = [run["shuffled_source"] for run in runs]
    return f"| {label} | {' | '.join(cells)} | {others[0]['metric']} {shown([one['shuffled'] for one in others])} |"


def untaught(given: argparse.Namespace, name: str) -> Iterator[str]:
    """What writes without learning: the first sentence, the central one, and the source."""
    records = [record for _, _, record in read_records(rows_of(given, name, "test", given.rows))]
    sources = [record["source"] for record in records]
    gold = [record["target"] if isinstance(record["target"], list) else [record["target"]] for record in records]
    split = [split_sentences(source) or [source] for source in sources]
    middle = [some[int(np.argmax(near))] for some, near in zip(split, centralities(split), strict=True)]
    written = {
        "the first sentence": [some[0] for some in split],
        "the central sentence (TF-IDF)": middle,
        "the source itself": sources,
    }
    for label, texts in written.items():
        scored = TextScores(texts, gold, sources)
        found, spans = scored(range(len(records))), bootstrap(scored, len(records))
        cells = [f"{found[one]:.3f} ({spans[one][0]:.3f} to {spans[one][1]:.3f})" for one in ("rougeL", "bleu", "chrf")]
        yield f"| {label} | {' | '.join(cells)} | {found['copied']:.3f} | |"


HEADER = "| | ROUGE-L | BLEU | chrF | copied | sources of others |\n|---|---|---|---|---|---|"


def starts(given: argparse.Namespace) -> None:
    """Pretrained and random bodies, in the default way."""
    for name in given.tasks:
        print(f"\n{name}\n{HEADER}", flush=True)
        for label in ("trained", "random"):
            body = body_of(given, TASKS[name].body, trained=label == "trained")
            seeds = range(given.seeds)
            runs = [taught(given, name, body, given.work / f"{name}-{label}-{seed}", seed=seed) for seed in seeds]
            print(summarised(label, runs), flush=True)
        for line in untaught(given, name):
            print(line, flush=True)


def ways(given: argparse.Namespace) -> None:
    """The ways of teaching, with as much compute as `--epochs` of the causal one."""
    for name in [task for task in given.tasks if task in ("csl_title", "squad_qg")]:
        print(f"\n{name}, ways of teaching\n{HEADER}", flush=True)
        body = body_of(given, TASKS[name].body, trained=True)
        budget = given.epochs * flops_an_epoch(given, name, body, "causal")
        for way in WAYS:
            epochs = max(1, round(budget / flops_an_epoch(given, name, body, way)))
            folders = [given.work / f"{name}-{way}-{seed}" for seed in range(given.seeds)]
            settings = {"objective": way, "epochs": epochs, "batch": 8, "learning_rate": 1e-3}
            runs = [taught(given, name, body, out, seed=seed, **settings) for seed, out in enumerate(folders)]
            print(summarised(f"{way}, {epochs} epochs", runs), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=[*TASKS], choices=TASKS)
    parser.add_argument("--parts", nargs="+", default=["start", "ways"], choices=("start", "ways"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=500, help="of test")
    parser.add_argument("--tokens", type=int, default=4_000_000, help="of pretraining a body")
    parser.add_argument("--epochs", type=int, default=3, help="of a way")
    parser.add_argument("--size", default="tiny")
    given = parser.parse_args(arguments)
    if "start" in given.parts:
        starts(given)
    if "ways" in given.parts:
        ways(given)


if __name__ == "__main__":
    sys.exit(main())
