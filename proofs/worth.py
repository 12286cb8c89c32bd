"""What is pretraining on one's own text worth? Pretrained, from random weights, and counted, on the same rows.

    python proofs/worth.py --run RUN --tasks FOLDER --out FOLDER [--only chnsenticorp ...] [--arms random counted ...]
    python proofs/worth.py --run RUN --tasks FOLDER --out FOLDER --table

FOLDER of --tasks holds chnsenticorp, thucnews, shopping_zh and msra_ner, each with train, dev and test records. Each is
taught with 100, 1,000 and all training rows, by 12, 4 and 3 seeds; a seed draws the rows, the same for all three arms,
and as many dev rows:

    pretrained  the body of a run, fine-tuned
    random      the same body with the weights that its training started from, fine-tuned by the same recipe; where
                the run went on from another (`pretrain --from`), --first names that one
    counted     TF-IDF of one to three characters under logistic regression; for names, conditional random fields over
                the characters around (`pip install python-crfsuite`)

Dev rows choose the epoch, how much the counted are held back and, for the first seed at 100 and 1,000 rows, the
learning rate, doubled or halved until that is no better; all rows take that of 1,000. The test rows are read once a
seed.

What is done is not done again, so several processes may share the work by --only, --rows and --arms. --table prints
the table of what they name, draws FOLDER/worth.svg (`pip install matplotlib`), and fails unless pretrained is ahead of
random everywhere by more than the interval of both seeds and test rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bothways.corpus.records import read_records
from bothways.evaluation.comparison.finetuned_metric import untrained_run
from bothways.evaluation.comparison.metrics import ScoredItems
from bothways.statistics import Compared, compared
from bothways.tasks import task_named
from bothways.tasks.reading import read_examples
from bothways.tasks.records import refuse
from bothways.tasks.task import Example
from bothways.training.finetuning import FinetuneConfig, finetune
from bothways.training.finetuning.tuned import Tuned, measure
from bothways.training.pretraining import PretrainConfig
from bothways.training.run_folder import RunFolder

TASKS = {"chnsenticorp": "classify", "thucnews": "classify", "shopping_zh": "classify", "msra_ner": "tag"}
ARMS = ("pretrained", "random", "counted")
ROWS = {100: (30, 12), 1000: (10, 4), 0: (3, 3)}  # rows (0: all): epochs, seeds
RATE = 4.0  # times the default: where the search begins
Answering = Callable[[Sequence[Example]], list[dict[str, Any]]]


class Proof:
    """Where everything lies, and what is done already."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.run, self.out = given, Path(given.run), Path(given.out)
        self.seeds = {rows: given.seeds or seeds for rows, (_, seeds) in ROWS.items()}
        self.out.mkdir(parents=True, exist_ok=True)

    def files(self, name: str, rows: int, seed: int) -> dict[str, Path]:
        """Train, dev and test of a seed: some rows of the first two, the whole of the third."""
        found = {side: next((self.given.tasks / name).glob(f"{side}.jsonl*")) for side in ("train", "dev", "test")}
        for side in ("train", "dev") if rows else ():
            some = self.out / f"{name}-{rows}-{seed}-{side}.jsonl"
            if not some.exists():
                lines = [record for _, _, record in read_records(found[side])]
                order = np.random.default_rng(seed).permutation(len(lines))[:rows]
                some.write_text("".join(json.dumps(lines[i]) + "\n" for i in order), encoding="utf-8")
            found[side] = some
        return found

    def items(self, name: str, rows: int, arm: str, seed: int) -> ScoredItems:
        """What each test example got by one arm, made once and kept in a file."""
        seed = seed if rows or arm != "counted" else 0  # nothing is drawn
        place = self.out / f"{name}-{rows}-{arm}-{seed}.npz"
        if not place.exists():
            value, weight = counted(self, name, rows, seed) if arm == "counted" else tuned(self, name, rows, arm, seed)
            np.savez(place, value=value, weight=weight)
            print(f"{name}, {rows or 'all'} rows, {arm}, seed {seed}: {value.sum() / weight.sum():.4f}", flush=True)
        with np.load(place) as done:
            return ScoredItems(done["value"], done["weight"])

    def body(self, arm: str) -> Path:
        """The run that an arm fine-tunes."""
        if arm == "pretrained":
            return self.run
        place = self.out / "random"
        if not place.exists():
            untrained_run(RunFolder(self.given.first or self.run).config(PretrainConfig), place)
        return place


def tuned(proof: Proof, name: str, rows: int, arm: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    files = proof.files(name, rows, seed)
    work = proof.out / f"{name}-{rows}-{arm}-{seed}"
    shutil.rmtree(work, ignore_errors=True)

    def trained(times: float) -> float:
        """The best dev score at so many times the default rate; trained once."""
        out = work / f"{times:g}"
        width = json.loads((proof.body(arm) / "encoder" / "config.json").read_text())["hidden_size"]
        if out.exists():
            return float(next(iter(RunFolder(out).manifest()["best"]["scores"].values())))
        config = FinetuneConfig(
            model=str(proof.body(arm)), task=TASKS[name], train=files["train"], dev=files["dev"], out=out, seed=seed,
            epochs=ROWS[rows][0], batch=16 if rows == 100 else 32, learning_rate=times * 0.04 / width,
        )  # fmt: skip
        return float(next(iter(RunFolder(finetune(config)).manifest()["best"]["scores"].values())))

    best = rate(proof, name, rows or 1000, arm, trained if rows and seed == 0 else None)
    trained(best)
    model = Tuned.load(work / f"{best:g}")
    _, examples = read_examples(model.task, files["test"], skip=refuse)
    found = model.task.items(examples, measure(model, model.encode(examples))[1], model.head)
    shutil.rmtree(work)
    return found


def rate(proof: Proof, name: str, rows: int, arm: str, trained: Callable[[float], float] | None) -> float:
    """How many times the default is best on the dev rows of the first seed."""
    place = proof.out / f"{name}-{rows}-{arm}-rate.json"
    if trained and not place.exists():
        scores = {times: trained(times) for times in (RATE, 2 * RATE)}
        while (best := max(scores, key=scores.__getitem__)) in (min(scores), max(scores)):
            further = best / 2 if best == min(scores) else 2 * best
            scores[further] = trained(further)
        place.write_text(json.dumps({"scores": scores, "best": best}))
    return float(json.loads(place.read_text())["best"])


def counted(proof: Proof, name: str, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    task, files = task_named(TASKS[name]), proof.files(name, rows, seed)
    train, dev, test = (read_examples(task, files[side], skip=refuse)[1] for side in ("train", "dev", "test"))
    head = task.head(train, reads="encoder")
    made: list[Answering] = [*(fields(train) if TASKS[name] == "tag" else regressions(train))]

    def score(answering: Answering) -> float:
        value, weight = task.items(dev, answering(dev), head)
        return float(value.sum() / weight.sum())

    return task.items(test, max(made, key=score)(test), head)


def regressions(train: Sequence[Example]) -> list[Answering]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    seen = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2, sublinear_tf=True)
    known, golds = seen.fit_transform([one.texts[0] for one in train]), [one.gold for one in train]

    def fitted(strength: float) -> Answering:
        model = LogisticRegression(C=strength, max_iter=2000).fit(known, golds)
        return lambda some: [{"label": said} for said in model.predict(seen.transform([one.texts[0] for one in some]))]

    return [fitted(strength) for strength in (1.0, 10.0, 100.0)]


def fields(train: Sequence[Example]) -> list[Answering]:
    import pycrfsuite

    def fitted(strength: float) -> Answering:
        trainer = pycrfsuite.Trainer(verbose=False)
        for one in train:
            trainer.append(around(one), list(one.gold))
        trainer.set_params({"c1": 0.05, "c2": strength, "max_iterations": 150})
        tagger = pycrfsuite.Tagger()
        with TemporaryDirectory() as place:
            trainer.train(f"{place}/fields")
            tagger.open(f"{place}/fields")  # reads it whole
        return lambda some: [{"tags": tagger.tag(around(one))} for one in some]

    return [fitted(strength) for strength in (0.01, 0.1)]


def around(example: Example) -> list[list[str]]:
    """Of every character: itself, two on either side, and the pairs among them."""
    assert example.words is not None
    words = ["<<", "<", *(example.words.text[a:b] for a, b in example.words.places.tolist()), ">", ">>"]
    return [
        [f"{k}:{words[i + k]}" for k in range(-2, 3)] + [f"{k}+:{words[i + k]}{words[i + k + 1]}" for k in range(-2, 2)]
        for i in range(2, len(words) - 2)
    ]


def table(proof: Proof) -> bool:
    """Prints it; whether pretraining is ahead of random weights everywhere."""
    holds, found = True, {}
    print("| | rows | pretrained | random weights | counted | over random | over counted |")
    print("|---|---|---|---|---|---|---|")
    for name in proof.given.only:
        for rows in proof.given.rows:
            items = [[proof.items(name, rows, arm, seed) for seed in range(proof.seeds[rows])] for arm in ARMS]
            value, weight = (
                np.array([[getattr(one, key) for one in some] for some in items]) for key in ("value", "weight")
            )
            one = found[name, rows] = compared(value, weight)
            over = [f"{one.means[0] - one.means[k]:+.3f} ± {one.halves[0, k]:.3f}" for k in (1, 2)]
            marked = [f"{over[k - 1]}{'' if one.exceeds(0, k) else ' (tied)'}" for k in (1, 2)]
            means = " | ".join(f"{mean:.3f}" for mean in one.means)
            print(f"| {name} | {rows or 'all'} | {means} | {' | '.join(marked)} |")
            holds &= one.exceeds(0, 1) and one.means[0] > one.means[1]
    draw(found, proof.out / "worth.svg")
    return holds


def draw(found: dict[tuple[str, int], Compared], place: Path) -> None:
    """A panel a task; bars that do not touch differ by more than chance."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams |= {
        "svg.hashsalt": "worth",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    names, sizes = (list(dict.fromkeys(key[k] for key in found)) for k in (0, 1))
    figure, panels = pyplot.subplots(
        1, len(names), figsize=(2.75 * len(names), 3.2), layout="constrained", squeeze=False
    )
    for panel, name in zip(panels[0], names, strict=True):
        for k, (arm, colour, mark) in enumerate(zip(ARMS, ("#0072b2", "#d55e00", "#555555"), "osd", strict=True)):
            means = [found[name, rows].means[k] for rows in sizes]
            halves = [found[name, rows].halves.max() / 2 for rows in sizes]
            panel.errorbar(
                [place + (k - 1) / 12 for place in range(len(sizes))], means, halves,
                color=colour, marker=mark, markersize=5, linewidth=1.5, capsize=3, label=arm,
            )  # fmt: skip
        panel.set_xticks(range(len(sizes)), [f"{rows:,}" if rows else "all" for rows in sizes])
        panel.set(title=name, xlabel="training rows")
    panels[0, 0].set_ylabel("accuracy (msra_ner: F1)")
    panels[0, 0].legend(frameon=False)
    figure.savefig(place, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--first", type=Path)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/worth"))
    parser.add_argument("--only", nargs="*", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=ARMS)
    parser.add_argument("--rows", nargs="*", type=int, choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", type=int, help="left out: 12, 4 and 3 by the number of rows")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    proof = Proof(given)
    if given.table:
        sys.exit(not table(proof))
    for rows in given.rows:
        for name in given.only:
            for seed in range(proof.seeds[rows]):
                for arm in given.arms:
                    proof.items(name, rows, arm, seed)


if __name__ == "__main__":
    main()
