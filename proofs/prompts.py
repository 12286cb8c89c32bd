"""Few labelled texts: prompts and PET beside fine-tuning as a whole and in parts, and beside what needs no body.

    python proofs/prompts.py --data FOLDER --work FOLDER [--tasks sst2 ...] [--methods pet ...] [--k 16 64] [--seeds 3]
        [--smollm FOLDER] [--minilm FOLDER]

FOLDERs as of proofs/writing.py, whose bodies are used: ours, pretrained by the default objective. `--smollm` is a
folder of SmolLM2, or another model of others that goes on with a text; `--minilm` one of all-MiniLM-L6-v2, which has no
word head and is fine-tuned, whole and in parts, and probed. A prefix is of the hybrid read from left to right.

A row is a method, a task, so many labelled texts of each label (5 or more), and a seed, which draws these. All methods
are given the same ones; those that choose an epoch choose it by as many others. PET has `--unlabelled` texts besides.
Prompts are not trained: zero-shot is one row a task, and `shots` shows two texts of each label. Texts have at
most 128 tokens where a model is trained. Scores are accuracies on the first `--rows` test rows; the table has their
mean over seeds, with half of its interval. What is done is not done again: every row is a file in --work.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from writing import again, body_of, done

import bothways
from bothways.corpus.records import read_records
from bothways.evaluation.linear_probe import linear_probe
from bothways.statistics import Mean, bootstrap
from bothways.tasks.pattern import Pattern, at_mask
from bothways.text import Tokenizer
from bothways.training.finetuning import FinetuneConfig, finetune
from bothways.training.prompting import PetConfig, PromptConfig, pet, prompt_file
from bothways.training.run_folder import RunFolder

STEPS, BATCH, LOOKS = 250, 8, 5  # of every method that trains a model on the labelled texts; epochs to choose from
LENGTH = 128  # tokens of a text
SHOTS = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """A task: its body, its patterns, in which MASK stands for as many masks as the words need, and a word a label."""

    body: str
    patterns: tuple[str, ...]
    words: dict[str, str]
    every: int = 1  # of the test file, where that is sorted by label: each so many-th row


TOPICS = "finance realty stocks education science society politics sports game entertainment"
IN_CHINESE = "财经 房产 股票 教育 科技 社会 时政 体育 游戏 娱乐"
TASKS = {
    "sst2": Kind("en", ("{text} It was MASK.", "{text} A MASK film."), {"0": "bad", "1": "good"}),
    "agnews": Kind(
        "en",
        ("{text} This is about MASK.", "{text} It is the MASK page."),
        {"0": "politics", "1": "sports", "2": "business", "3": "technology"},
    ),
    "thucnews": Kind(
        "zh",
        ("{text} 这是MASK新闻。", "{text} 分类：MASK。"),
        dict(
            zip(
                TOPICS.split(),
                IN_CHINESE.split(),
                strict=True,
            )
        ),
        every=5,
    ),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the table, and the files that it is made of."""

    given: argparse.Namespace
    task: str
    k: int
    seed: int
    out: Path
    published: Path | None = None

    @property
    def kind(self) -> Kind:
        """Its task."""
        return TASKS[self.task]

    @property
    def body(self) -> Path:
        """The model that it goes on from: one of ours, or a published one."""
        return self.published or body_of(self.given, self.kind.body, trained=True)

    def file(self, part: str) -> Path:
        """train and dev: k of each label; learned: train, as often as an epoch needs, for a look at dev costs more than
        a step; unlabelled: others; test."""
        seeded = part != "test"
        name = f"{self.task}-{part}" + (f"-{self.k}-{self.seed}" if seeded else f"-{self.given.rows}")
        path = self.given.work / "prompts" / "data" / f"{name}.jsonl"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in self._records(part))
            path.write_text("".join(lines), encoding="utf-8")
        return path

    def _records(self, part: str) -> list[dict[str, Any]]:
        (source,) = (self.given.data / "tasks" / self.task).glob(f"{'test' if part == 'test' else 'train'}.jsonl*")
        if part == "learned":
            labelled, wanted = self._records("train"), STEPS * BATCH // LOOKS
            in_turns = [labelled[i] for first in range(self.k) for i in range(first, len(labelled), self.k)]
            return (in_turns * math.ceil(wanted / len(in_turns)))[:wanted]  # labels stay even where it is cut
        every = [{"text": one["text"], "label": str(one["label"])} for _, _, one in read_records(source)]
        if part == "test":
            return every[:: self.kind.every][: self.given.rows]
        order = np.random.default_rng(self.seed).permutation(len(every)).tolist()
        of_label = {label: [i for i in order if every[i]["label"] == label] for label in self.kind.words}
        taken = {
            "train": [i for some in of_label.values() for i in some[: self.k]],
            "dev": [i for some in of_label.values() for i in some[self.k : 2 * self.k]],
        }
        labelled = {*taken["train"], *taken["dev"]}
        taken["unlabelled"] = [i for i in order if i not in labelled][: self.given.unlabelled]
        return [every[i] for i in taken[part]]

    def patterns(self, model: Path) -> list[str]:
        """Its patterns with as many masks as the longest word has tokens."""
        return [with_masks(pattern, self.kind.words, Tokenizer.load(model)) for pattern in self.kind.patterns]


def with_masks(pattern: str, words: dict[str, str], tokenizer: Tokenizer) -> str:
    """The pattern for a model's tokenizer."""
    one = pattern.replace("MASK", "[MASK]")
    lead = "" if tokenizer.vocabulary.mask < 0 else at_mask(tokenizer, Pattern.parse(one).sides(["x"])[0], "")[2]
    return pattern.replace("MASK", "[MASK]" * max(len(tokenizer.encode(lead + word)) for word in words.values()))


Found = dict[str, Any]


def prompted(case: Case, *, model: Path | None = None, how: str | None = None, shots: int = 0) -> Found:
    """Without training, by the first pattern."""
    chosen = model or case.body
    engine = bothways.load(chosen).engine
    pattern = with_masks(case.kind.patterns[0], case.kind.words, engine.tokenizer)
    shown = {"examples": case.file("train"), "shots": shots, "seed": case.seed} if shots else {}
    config = PromptConfig(pattern=pattern, verbaliser=case.kind.words, how=how, **shown)
    scores = prompt_file(engine, case.file("test"), config).evaluation or {}
    return {"accuracy": scores["accuracy"], "interval": scores["intervals"]["accuracy"]}


def of_run(out: Path) -> Found:
    """The test scores of a run."""
    told = RunFolder(out).manifest()
    return {"accuracy": told["test"]["accuracy"], "interval": told["test_intervals"]["accuracy"]}


def tuned(case: Case, **settings: Any) -> Found:
    """Fine-tuned on the labelled texts, for as many steps whatever their number."""
    if odd := next((name for name in settings if name not in FinetuneConfig.model_fields), None):
        raise SystemExit(f"finetune has no setting {odd}: leave out the methods that need it")
    files = {"train": case.file("learned"), "dev": case.file("dev"), "test": case.file("test")}
    own = {"epochs": LOOKS, "batch": BATCH, "length": LENGTH, "seed": case.seed, **files, **settings}
    config = FinetuneConfig(model=str(case.body), out=case.out, **own)
    if not done(case.out):
        finetune(config, **again(case.out))
    return of_run(case.out)


def pet_run(case: Case, **settings: Any) -> Found:
    """PET, and what its ensemble gets without the classifier."""
    files = {part: case.file(part) for part in ("train", "dev", "test", "unlabelled")}
    words = {"pattern": tuple(case.patterns(case.body)), "verbaliser": case.kind.words}
    own = {"steps": STEPS, "repetitions": 2, "length": LENGTH, "seed": case.seed, **files, **words, **settings}
    config = PetConfig(model=str(case.body), out=case.out, **own)
    if not done(case.out):
        pet(config, resume=(case.out / "pet" / "config.yaml").exists())
    members = RunFolder(case.out / "pet").manifest()
    return {**of_run(case.out), "ensemble": members["ensemble"]["test"]}


def of_right(right: np.ndarray) -> Found:
    """Accuracy of what was right and wrong."""
    spans = bootstrap(lambda some: {"accuracy": float(right[some].mean())}, len(right))
    return {"accuracy": float(right.mean()), "interval": [*spans["accuracy"]]}


def sides_of(case: Case) -> tuple[tuple[list[str], list[str]], tuple[list[str], list[str]]]:
    """Texts and labels, of train and test each."""
    sides = [[one for _, _, one in read_records(case.file(part))] for part in ("train", "test")]
    texts = [[one["text"] for one in side] for side in sides]
    labels = [[one["label"] for one in side] for side in sides]
    return (texts[0], texts[1]), (labels[0], labels[1])


def probed(case: Case) -> Found:
    """A linear probe on the mean states of the frozen body."""
    texts, labels = sides_of(case)
    model = bothways.load(case.body)
    features = (model.embed(texts[0]), model.embed(texts[1]))
    return of_right(linear_probe(features, labels, strengths=(0.001, 0.01, 0.1, 1.0)))


def counted(case: Case) -> Found:
    """The same over TF-IDF of the body's tokens and pairs of them."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, labels = sides_of(case)
    tokenizer = Tokenizer.load(case.body)
    first = TfidfVectorizer(
        tokenizer=lambda text: [str(one) for one in tokenizer.encode(text)],
        token_pattern=None,
        lowercase=False,
        ngram_range=(1, 2),
    )
    return of_right(linear_probe(texts, labels, strengths=(0.1, 1.0, 10.0, 100.0), first=first))


METHODS: dict[str, Callable[[Case], Found]] = {
    "zero-shot": prompted,
    "zero-shot-continue": partial(prompted, how="continue"),
    "shots": partial(prompted, shots=SHOTS),
    "pet": pet_run,
    "ipet": partial(pet_run, generations=3),
    "full": tuned,
    "lora": partial(tuned, adapter="lora(rank=8)"),
    "soft-prompt": partial(tuned, adapter="soft_prompt(tokens=20)"),
    "prefix": partial(tuned, adapter="prefix(tokens=10)", reads="decoder"),
    "probe": probed,
    "tf-idf": counted,
}
OF_MINILM = ("full", "lora", "soft-prompt", "probe")
OF_SMOLLM = {"smollm-zero-shot": 0, "smollm-shots": SHOTS}
ONCE = ("zero-shot", "zero-shot-continue", "smollm-zero-shot")
"""Neither labelled texts nor a seed change them."""


def method_of(given: argparse.Namespace, name: str) -> Callable[[Case], Found]:
    """What makes a row."""
    if name in OF_SMOLLM:
        return partial(prompted, model=given.smollm, how="continue", shots=OF_SMOLLM[name])
    return METHODS[name.removeprefix("minilm-")]


def row(given: argparse.Namespace, task: str, method: str, k: int, seed: int) -> Found:
    """One row; done once."""
    k, seed = (given.k[0], 0) if method in ONCE else (k, seed)
    name = f"{task}-{method}-{k}-{seed}"
    kept = given.work / "prompts" / "rows" / f"{name}.json"
    if not kept.exists():
        started = time.perf_counter()
        published = given.minilm if method.startswith("minilm-") else None
        case = Case(given, task, k, seed, given.work / "prompts" / "runs" / name, published)
        found = method_of(given, method)(case)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({**found, "seconds": round(time.perf_counter() - started, 1)}), encoding="utf-8")
        print(f"  {name}: {kept.read_text(encoding='utf-8')}", flush=True)
    read: Found = json.loads(kept.read_text(encoding="utf-8"))
    return read


def table(given: argparse.Namespace, task: str) -> Iterator[str]:
    """A line a method, a column for each k."""
    yield f"\n{task}\n| | {' | '.join(f'{k} a label' for k in given.k)} |\n|---|{'---|' * len(given.k)}"
    for method in given.methods:
        if method.startswith("minilm-") and TASKS[task].body != "en":
            continue
        cells = []
        for k in given.k:
            found = [row(given, task, method, k, seed)["accuracy"] for seed in range(given.seeds)]
            mean = Mean.of(found)
            several = len(found) > 1 and method not in ONCE
            cells.append(f"{mean.mean:.3f}" + (f" ± {mean.half:.3f}" if several else ""))
        yield f"| {method} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    minilm = [f"minilm-{name}" for name in OF_MINILM]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=[*TASKS], choices=TASKS)
    parser.add_argument("--methods", nargs="+", default=[*METHODS], choices=[*METHODS, *minilm, *OF_SMOLLM])
    parser.add_argument("--k", nargs="+", type=int, default=[16, 64], help="labelled texts of each label")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1000, help="of test")
    parser.add_argument("--unlabelled", type=int, default=2000, help="texts, of PET")
    parser.add_argument("--smollm", type=Path, help="a folder of SmolLM2")
    parser.add_argument("--minilm", type=Path, help="a folder of all-MiniLM-L6-v2, for tasks in English")
    parser.add_argument("--tokens", type=int, default=4_000_000, help="of pretraining a body")
    parser.add_argument("--size", default="tiny", help="of a body")
    given = parser.parse_args(arguments)
    if given.smollm:
        given.methods = [*dict.fromkeys([*given.methods, *OF_SMOLLM])]
    if given.minilm:
        given.methods = [*dict.fromkeys([*given.methods, *minilm])]
    for task in given.tasks:
        for line in table(given, task):
            print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
