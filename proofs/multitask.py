"""Several tasks at once beside each alone, sentences chosen by a published encoder, and a deep encoder with a shallow
decoder.

    python proofs/multitask.py --data FOLDER --work FOLDER [--parts multitask extract depth] [--minilm FOLDER]
        [--seeds 3]

FOLDERs as of proofs/writing.py, whose bodies are used. What is done is not done again: every row is a run in --work.

- multitask: four classifiers of English, two of them with few examples, each alone, then all at once (MT-DNN, Liu et
  al. 2019), then with the ones alone as teachers (BAM, Clark et al. 2019). An epoch at once reads as many examples
  as the four alone together.
- extract: BERTSUM (Liu and Lapata 2019) on scitldr with MiniLM's encoder, beside the first sentences and TF-IDF.
- depth: 12 and 1 layers beside 6 and 6 (Kasai et al. 2021), the first with feed-forward layers so wide that both have
  as many weights; both pretrained by infilling for as many tokens, then taught to write modern Chinese for classical.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from writing import HEADER, again, body_of, done, rows_of, shown, summarised, taught

from bothways.corpus.records import read_records
from bothways.model import preset
from bothways.training.finetuning import finetune, finetune_multitask
from bothways.training.pretraining import pretrain
from bothways.training.run_folder import RunFolder

FOUR = {"sst2": 2000, "agnews": 2000, "cola": 400, "mrpc": 400}
"""{task: training examples}"""
METRIC = {"cola": "matthews"}  # of the others accuracy


def files_of(given: argparse.Namespace, name: str, most: int) -> dict[str, Path]:
    """Train, dev and test of a task, the first of so many examples at most."""
    found = {}
    for side, count in (("train", most), ("dev", 400), ("test", 2000)):
        out = given.work / "data" / f"{name}-{side}-{count}.jsonl"
        if not out.exists():
            (file, *_) = sorted((given.data / "tasks" / name).glob(f"{side}.jsonl*"))
            records = (record for _, _, record in islice(read_records(file), count))
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8")
        found[side] = out
    return found


def multitask(given: argparse.Namespace) -> None:
    """Each task alone, all at once, and with teachers."""
    body, seeds = str(body_of(given, "en", trained=True)), range(given.seeds)
    files = {name: files_of(given, name, most) for name, most in FOUR.items()}
    alone = {name: [given.work / f"{name}-alone-{seed}" for seed in seeds] for name in FOUR}
    for name, folders in alone.items():
        for seed, out in enumerate(folders):
            if not done(out):
                finetune(model=body, task="classify", out=out, seed=seed, **files[name], **again(out))
    scores = {"alone": {name: [RunFolder(out).manifest()["test"] for out in alone[name]] for name in FOUR}}
    for way in ("at once", "with teachers"):
        runs = [given.work / f"{way.replace(' ', '-')}-{seed}" for seed in seeds]
        for seed, out in enumerate(runs):
            teacher = {name: {"teacher": alone[name][seed]} if way == "with teachers" else {} for name in FOUR}
            tasks = [{"name": name, "task": "classify", **files[name], **teacher[name]} for name in FOUR]
            if not done(out):
                finetune_multitask(model=body, tasks=tasks, out=out, seed=seed, **again(out))
        found = [RunFolder(out).manifest()["tasks"] for out in runs]
        scores[way] = {name: [one[name]["test"] for one in found] for name in FOUR}
    print("\n| task | examples | metric | " + " | ".join(scores) + " |\n|---|---|---|" + "---|" * len(scores))
    for name, most in FOUR.items():
        metric = METRIC.get(name, "accuracy")
        cells = [shown([run[metric] for run in of[name]]) for of in scores.values()]
        print(f"| {name} | {most} | {metric} | {' | '.join(cells)} |", flush=True)


def extract(given: argparse.Namespace) -> None:
    """Sentences as summaries."""
    files = {side: rows_of(given, "scitldr", side, most) for side, most in (("train", 500), ("dev", 100))}
    files["test"] = rows_of(given, "scitldr", "test", given.rows)
    columns, runs = {"text": "source", "summary": "target"}, []
    for seed in range(given.seeds):
        out = given.work / f"extract-{seed}"
        if not done(out):
            settings: dict[str, Any] = {"head": "extract-mean", "sentences": 1, "epochs": 2, "columns": columns}
            finetune(model=str(given.minilm), task="extract", out=out, seed=seed, **settings, **files, **again(out))
        runs.append(RunFolder(out).manifest())
    print("\n| scitldr, one sentence | ROUGE-1 | ROUGE-2 | ROUGE-L |\n|---|---|---|---|")
    kinds = ("rouge1", "rouge2", "rougeL")
    print("| MiniLM | " + " | ".join(shown([run["test"][kind] for run in runs]) for kind in kinds) + " |")
    for name, one in runs[0]["baselines"].items():
        cells = [
            f"{one['scores'][kind]:.3f} ({' to '.join(f'{x:.3f}' for x in one['intervals'][kind])})" for kind in kinds
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def depth(given: argparse.Namespace) -> None:
    """12 and 1 layers, 6 and 6."""
    body_of(given, "zh", trained=False)  # for its shards
    equal, deep = (preset(f"{size}x{given.width}", vocabulary=8192, length=256) for size in ("6-6", "12-1"))
    blocks, matrices = 13, deep.feed_forward_matrices
    wider = (equal.body_parameters - deep.body_parameters) / (blocks * deep.width * matrices)
    inner = 8 * round((deep.inner + wider) / 8)
    print(f"\nclassical_modern_zh, 12-1 with an inner width of {inner} instead of {deep.inner}\n{HEADER}", flush=True)
    for size, change in {"6-6": {}, "12-1": {"inner": inner}}.items():
        body = given.work / f"seq2seq-{size}"
        if not (body / "report.html").exists():
            training = {"budget": {"tokens": given.deep_tokens}, "length": 256, "step_tokens": 4096}
            shape = {"size": f"{size}x{given.width}", "model": change}
            pretrain(given.work / "shards-zh", out=body, objective="seq2seq", training=training, **shape, **again(body))
        name, folders = "classical_modern_zh", [given.work / f"depth-{size}-{seed}" for seed in range(given.seeds)]
        runs = [taught(given, name, body, out, seed=seed) for seed, out in enumerate(folders)]
        print(summarised(size, runs), flush=True)


PARTS = {"multitask": multitask, "extract": extract, "depth": depth}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", default=[*PARTS], choices=PARTS)
    parser.add_argument("--minilm", type=Path, help="a folder of all-MiniLM-L6-v2, of extract")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=500, help="of test")
    parser.add_argument("--tokens", type=int, default=4_000_000, help="of pretraining a body")
    parser.add_argument("--deep-tokens", type=int, default=1_500_000, help="of pretraining for depth")
    parser.add_argument("--width", type=int, default=128, help="of depth")
    parser.add_argument("--size", default="tiny", help="of a body")
    given = parser.parse_args(arguments)
    for part in given.parts:
        PARTS[part](given)


if __name__ == "__main__":
    sys.exit(main())
