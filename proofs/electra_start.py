"""What starts ELECTRA's detector, and whether what starts it is level with MLM.

    python proofs/electra_start.py start SHARDS --work FOLDER [--only ARM ...] [--tokens 4e5] [--seeds 0 1 2]
        [--size 4x64] [--step-tokens 2048] [--probe subj=TRAIN,TEST ...]
    python proofs/electra_start.py compare DATA --work FOLDER [--languages en zh] [--budgets 6e13flops 20min]
        [--objectives mlm electra ...] [--examples 2000] [--set NAME=VALUE ...]

`start`: short runs of one body on one text, each with its own way of beginning (ARMS). A detector that says "original"
everywhere has the entropy of the share of replaced tokens as its loss. Five times in a run, held-out rows are filled by
the run's own generator, and of every token is asked whether it was replaced: how much of that entropy is gone
(`explained`), and the area under the ROC curve. A generator that has learned nothing is found out at once, so what
counts is the detector once the generator has learned: the look at which the least was explained, and the last. The
probes are linear classifiers over the body's mean states at the end. Seconds are the processor's.

`compare`: DATA is a folder with pretrain/ and tasks/; in each language, at equal FLOPs and at equal time, three seeds
of what is COMPARED, with linear probes and fine-tuning on a part of each training file (`bothways
prepare`, `bothways compare`, with settings after --set).

What is done is kept in FOLDER and not done again; the same command prints the tables.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from bothways.config import read
from bothways.corpus.lines import lines
from bothways.evaluation.comparison.metrics import probed
from bothways.evaluation.linear_probe import read_sides
from bothways.files import write_text
from bothways.inference.engine import Engine
from bothways.inference.language_model import LanguageModel
from bothways.model import Abilities, Model
from bothways.training.loop import train
from bothways.training.optimiser import rated
from bothways.training.pretraining import PretrainConfig
from bothways.training.pretraining.setup import PretrainRun, networks_of, set_up, total_steps
from bothways.training.processes import processes

LOOKS = 5  # in a run
COMPARED = ("mlm", "electra", "electra(temperature=2)", "1/4 mlm -> 3/4 electra")
ARMS: dict[str, tuple[str, float]] = {
    "mlm": ("mlm", 1),
    "electra": ("electra", 1),
    "rate x 1/4": ("electra", 1 / 4),
    "weight 10": ("electra(weight=10)", 1),
    "fills 25 %": ("electra(rate=0.25)", 1),
    "generator 1/2": ("electra(generator=0.5)", 1),
    "generator slower": ("electra(pace=0.1)", 1),
    "generator faster": ("electra(pace=4)", 1),
    "hot, then not": ("electra(temperature=2->1)", 1),
    "hot": ("electra(temperature=2)", 1),
    "cold": ("electra(temperature=0.5)", 1),
    "any token first": ("1/10 electra(temperature=1000) -> 9/10 electra", 1),
    "generator first": ("1/4 electra(predict=nothing) -> 3/4 electra", 1),
    "mlm first": ("1/4 mlm -> 3/4 electra", 1),
    "mlm first, rate x 1/4": ("1/4 mlm -> 3/4 electra", 1 / 4),
    "mlm first, 1/10": ("1/10 mlm -> 9/10 electra", 1),
    "mlm first, half": ("1/2 mlm -> 1/2 electra", 1),
    "mlm first, half, generator slower": ("1/2 mlm -> 1/2 electra(pace=0.1)", 1),
    "mlm first, beside the generator": ("1/4 electra(predict=masked) -> 3/4 electra", 1),
    "half of the rows masked": ("1/2 electra(predict=masked) + 1/2 electra", 1),
    "mlm, then the generator": ("1/4 mlm -> 1/10 electra(predict=nothing) -> 13/20 electra", 1),
    "Replace MLM": ("electra(predict=words)", 1),
    "All-Tokens MLM": ("electra(predict=all-words)", 1),
    "deberta-v3": ("deberta-v3", 1),
    "mlm, then deberta-v3": ("1/4 mlm -> 3/4 deberta-v3", 1),
}
"""{arm: its objective, its learning rate over the default}"""
LANGUAGES: dict[str, dict[str, str]] = {
    "en": {
        "texts": "en_books_open en_wikitext2_valid.tokens en_brown en_speeches en_reference en_pydocs",
        "words": "spaces",
        "probes": "sst2 subj",
        "tasks": "classify:sst2 tag:conll2000",
    },
    "zh": {
        "texts": "zh_history_modern zh_novels_open zh_technical zh_web_fewclue zh_weekly_tech",
        "words": "jieba",
        "probes": "chnsenticorp thucnews",
        "tasks": "classify:chnsenticorp tag:msra_ner",
    },
}
"""{language: texts to train on, what parts words, data sets for probes, kinds and names of tasks}"""


def detector(run: PretrainRun) -> dict[str, float]:
    """On held-out rows that the run's own generator filled: the share replaced, what of its entropy is explained, the
    area under the ROC curve, and the losses; nothing where there is no detector."""
    if "replaced" not in run.model.heads:
        return {}
    head: Any = run.model.heads["replaced"]
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    own = head.loss
    head.loss = lambda logits, target: seen.append((logits, target.labels)) or own(logits, target)
    run.model.eval()
    with torch.no_grad():
        drawn = torch.Generator().manual_seed(0)
        losses = [run.work.losses(batch, drawn) for batch in run.validation]
    run.model.train()
    del head.loss
    suspicion, replaced = (torch.cat(column).numpy() for column in zip(*seen, strict=True))
    share = float(replaced.mean())
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    means = {
        name: sum(float(one[name][0]) for one in losses) / sum(float(one[name][1]) for one in losses)
        for name in losses[0]
    }
    explained = 1 - means["discriminator"] / float(entropy)
    return {"replaced": share, "explained": explained, "area": float(roc_auc_score(replaced, suspicion)), **means}


def looked_at(run: PretrainRun) -> Iterator[dict[str, float]]:
    """Trains; a line after each fifth of the steps."""
    total = total_steps(run)
    assert total is not None
    run.state.notes["total"] = total
    spent, since = 0.0, time.process_time()
    for report in train(run.work, state=run.state, config=run.config.training, total=total):
        if report.step * LOOKS // total > (report.step - 1) * LOOKS // total:
            spent += time.process_time() - since
            yield {"tokens": report.tokens, "flops": run.flops(), "seconds": spent, **detector(run)}
            since = time.process_time()


def probes_of(run: PretrainRun, probes: Mapping[str, Sequence[Path]]) -> dict[str, float]:
    """{name: accuracy of a linear classifier over the body's mean states}."""
    (_, weights, shape, _), *_ = networks_of(run.objective, run.full_weights(), run.model.config)
    body = Model(shape)
    body.load_state_dict({name: weights[name] for name in body.state_dict()})
    model = LanguageModel(Engine(body.eval(), run.shards.tokenizer, Abilities("", ("encoder",), "in place")))
    return {name: probed(model, read_sides("classify", *sides)).figure for name, sides in probes.items()}


def settings(given: argparse.Namespace, arm: str, seed: int, out: Path) -> PretrainConfig:
    """Of a run: the arm's learning rates are as many times the default ones."""
    objective, times = ARMS[arm]
    step = {"step_tokens": given.step_tokens, "micro_tokens": given.step_tokens}
    training = {"budget": {"tokens": given.tokens}, "validation_rows": given.rows, "seed": seed, **step}
    values = {"shards": given.shards, "out": out, "objective": objective, "size": given.size}
    plain = read(PretrainConfig, {**values, "training": training})
    rates = rated(plain.training.optimiser, width=plain.model_config_for(8).width)
    own = {name: times * getattr(rates, name) for name in ("learning_rate", "adam_learning_rate")}
    return read(PretrainConfig, {**values, "training": {**training, "optimiser": own}})


def row(given: argparse.Namespace, arm: str, seed: int) -> dict[str, Any]:
    """A run, made once and kept in a file."""
    sizes = (arm.replace("/", ":"), given.size, f"{given.tokens:g}", given.step_tokens, seed)
    place: Path = given.work / f"{', '.join(map(str, sizes))}.json"
    if not place.exists():
        with tempfile.TemporaryDirectory() as aside, processes(device="cpu") as team:
            run = set_up(settings(given, arm, seed, Path(aside) / "run"), team, resume=False)
            found = {"points": list(looked_at(run)), "probes": probes_of(run, dict(given.probe))}
        place.write_text(json.dumps(found, indent=1), encoding="utf-8")
        print(f"done: {arm}, seed {seed}", flush=True)
    return dict(json.loads(place.read_text(encoding="utf-8")))


def table(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """A line an arm, the means of its seeds."""
    names = list(next(iter(rows.values()))[0]["probes"])
    figures = ["TFLOPs", "CPU s", "generator", "replaced", "least explained", "explained", "area"]
    heads = ["", "objective", "seeds", *figures, *names]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for arm, some in rows.items():
        last = [one["points"][-1] for one in some]
        least = [min((point.get("explained", np.nan) for point in one["points"]), default=np.nan) for one in some]
        columns = [
            ([point["flops"] / 1e12 for point in last], ".2f"),
            ([point["seconds"] for point in last], ".0f"),
            ([point.get("generator", np.nan) for point in last], ".2f"),
            ([point.get("replaced", np.nan) for point in last], ".3f"),
            (least, ".3f"),
            *(([point.get(key, np.nan) for point in last], ".3f") for key in ("explained", "area")),
            *(([one["probes"][name] for one in some], ".3f") for name in names),
        ]
        cells = ["" if np.isnan(values).any() else f"{np.mean(values):{form}}" for values, form in columns]
        objective, times = ARMS[arm]
        rate = "" if times == 1 else f", rate x {times:g}"
        print(f"| {arm} | `{objective}`{rate} | {len(some)} | {' | '.join(cells)} |")


def start(given: argparse.Namespace) -> None:
    given.work.mkdir(parents=True, exist_ok=True)
    table({arm: [row(given, arm, seed) for seed in given.seeds] for arm in given.only})


def compare(given: argparse.Namespace) -> None:
    """`bothways prepare` once a language, and `bothways compare` for each budget of it."""

    def sides(name: str) -> list[Path]:
        train, test = (next((given.data / "tasks" / name).glob(f"{side}.jsonl*")) for side in ("train", "test"))
        first = given.work / f"{name}-{given.examples}.jsonl"
        if not first.exists():
            given.work.mkdir(parents=True, exist_ok=True)
            kept = [str(line) for _, line in lines(train)]
            count = min(given.examples, len(kept))
            some = [kept[i * len(kept) // count] for i in range(count)]
            write_text(first, "".join(f"{line}\n" for line in some))
        return [first, test]

    def joined(files: Sequence[Path]) -> str:
        return ",".join(map(str, files))

    def bothways(*arguments: object) -> None:
        subprocess.run([sys.executable, "-m", "bothways", *map(str, arguments)], check=True)

    for language in given.languages:
        about = {key: value.split() for key, value in LANGUAGES[language].items()}
        shards, tasks = given.work / language, [task.split(":") for task in about["tasks"]]
        if not (shards / "index.json").exists():
            texts = [given.data / "pretrain" / f"{name}.txt.gz" for name in about["texts"]]
            held = [part for name in about["probes"] for part in ("--exclude", sides(name)[1])]
            words = ("--set", f"words={about['words'][0]}", "--vocabulary", 8192)
            bothways("prepare", *texts, *held, *words, "--out", shards)
        measures = [part for name in about["probes"] for part in ("--probe", f"{name}={joined(sides(name))}")]
        measures += [part for kind, name in tasks for part in ("--task", f"{name}={kind}:{joined(sides(name))}")]
        measures += [part for setting in given.set for part in ("--set", setting)]
        for budget in given.budgets:
            objectives, out = "; ".join(given.objectives), given.work / f"{language}-{budget}"
            bothways("compare", shards, "--objectives", objectives, "--budget", budget, "--out", out, *measures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    one = parts.add_parser("start")
    one.set_defaults(does=start)
    one.add_argument("shards", type=Path)
    one.add_argument("--only", nargs="*", choices=list(ARMS), default=list(ARMS))
    one.add_argument("--tokens", type=float, default=4e5)
    one.add_argument("--step-tokens", type=int, default=2048)
    one.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    one.add_argument("--size", default="4x64")
    one.add_argument("--rows", type=int, default=32, help="held out, to look at")
    one.add_argument("--probe", action="append", default=[], type=named, metavar="NAME=TRAIN,TEST")
    other = parts.add_parser("compare")
    other.set_defaults(does=compare)
    other.add_argument("data", type=Path)
    other.add_argument("--languages", nargs="*", choices=list(LANGUAGES), default=list(LANGUAGES))
    other.add_argument("--budgets", nargs="*", default=["6e13flops", "20min"])
    other.add_argument("--objectives", nargs="*", default=COMPARED)
    other.add_argument("--examples", type=int, default=2000, help="of each training file, evenly from all of it")
    other.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of `bothways compare`")
    for each in (one, other):
        each.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    given.does(given)


def named(text: str) -> tuple[str, list[Path]]:
    """NAME=TRAIN,TEST."""
    name, _, files = text.partition("=")
    return name, [Path(file) for file in files.split(",")]


if __name__ == "__main__":
    main()
