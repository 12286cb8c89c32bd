"""The causal face under lm-eval, without our code: the same log-likelihoods, the same choices.

    pip install lm-eval==0.4.13
    python proofs/under_lm_eval.py [--work FOLDER] [--run RUN] [--seconds 60]

A run of Python's own documentation (or --run) is measured by lm-eval's `hf` model in a process in which `bothways`
cannot be imported, on two tasks that are files of this folder: which of four endings a beginning has (multiple choice),
and the perplexity of texts (rolling). What `bothways.load` finds is printed beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import bothways
from bothways.inference.score import score_after

SCRIPT = '''
import json, sys
sys.modules["bothways"] = None  # an import of it fails
import lm_eval
from lm_eval.tasks import TaskManager
model, folder = sys.argv[1:]
manager = TaskManager(include_path=folder, include_defaults=False)


def measured(task, begins):
    """A text after [CLS]; where all of it is predicted, lm-eval lays [CLS] itself."""
    arguments = f"pretrained={model},add_bos_token={begins},dtype=float32"
    return lm_eval.simple_evaluate(
        "hf", arguments, [task], device="cpu", batch_size=8, bootstrap_iters=0, task_manager=manager
    )


found, texts = measured("next_line", True), measured("texts", False)
each = [[choice[0][0] for choice in one["resps"]] for one in found["samples"]["next_line"]]
with open(f"{folder}/found.json", "w") as file:
    json.dump({"results": found["results"] | texts["results"], "each": each}, file, default=str)
'''
TASKS = {
    "next_line": """task: next_line
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/next_line.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{begin}}"
doc_to_choice: "{{choices}}"
doc_to_target: label
target_delimiter: ""
metric_list: [{metric: acc}]
""",
    "texts": """task: texts
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/texts.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
""",
}


def documents() -> list[str]:
    """Sentences of the documentation of some modules."""
    found = []
    for name in ("collections", "itertools", "pathlib", "random", "statistics", "string", "textwrap", "threading"):
        module = __import__(name)
        for one in vars(module).values():
            found += [" ".join(part.split()) for part in str(getattr(one, "__doc__", "") or "").split("\n\n")]
    return [text for text in dict.fromkeys(found) if 60 < len(text) < 300]


def write_tasks(folder: Path) -> list[dict[str, Any]]:
    """The two tasks with their files; returns the records of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, texts, records = random.Random(0), documents(), []
    for text in texts[:60]:
        words = text.split(" ")
        begin, ending = " ".join(words[: len(words) // 2]), " " + " ".join(words[len(words) // 2 :])
        others = [" " + " ".join(one.split(" ")[len(one.split(" ")) // 2 :]) for one in rng.sample(texts, 3)]
        choices = [ending, *others]
        rng.shuffle(choices)
        records.append({"begin": begin, "choices": choices, "label": choices.index(ending)})
    files = {"next_line": records, "texts": [{"text": text} for text in texts[:60]]}
    for name, some in files.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in some))
        (folder / f"{name}.yaml").write_text(TASKS[name].replace("FOLDER", str(folder.resolve())))
    return records


def ours(model: bothways.LanguageModel, records: list[dict[str, Any]]) -> np.ndarray:
    """Log-likelihoods of the choices, float64 [records, 4]."""
    before, _ = model.engine.around(closed=False)
    begins, endings = [], []
    for record in records:
        begin = [*before, *model.tokenizer.encode(record["begin"])]
        for choice in record["choices"]:
            whole = [*before, *model.tokenizer.encode(record["begin"] + choice)]
            begins.append(np.array(whole[: len(begin)]))
            endings.append(np.array(whole[len(begin) :]))
    return score_after(model.engine, begins, endings)[0].reshape(len(records), -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(given.work or Path(folder), given.run, seconds=given.seconds)


def compare(work: Path, run: Path | None, *, seconds: int) -> None:
    """Leaves with an error where the two differ."""
    if run is None:
        run = work / "run"
        if not run.exists():
            bothways.prepare(["python-docs"], out=work / "shards")
            training = {"budget": {"seconds": seconds}}
            bothways.pretrain(work / "shards", out=run, objective="causal", size="tiny", training=training)
    folder = work / "tasks"
    records = write_tasks(folder)
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": ""}
    words = [sys.executable, "-c", SCRIPT, str((run / "decoder").resolve()), str(folder.resolve())]
    subprocess.run(words, check=True, env=offline, cwd=folder)
    told = json.loads((folder / "found.json").read_text())
    model = bothways.load(run)
    found, theirs = ours(model, records), np.array(told["each"], dtype=np.float64)
    apart, right = np.abs(found - theirs).max(), found.argmax(1) == [record["label"] for record in records]
    texts = [json.loads(line)["text"] for line in (folder / "texts.jsonl").read_text().splitlines()]
    bits = -float(model.score(texts).sum()) / math.log(2) / sum(len(text.encode()) for text in texts)
    by = {"acc": told["results"]["next_line"]["acc,none"], "bits": told["results"]["texts"]["bits_per_byte,none"]}
    print(f"log-likelihoods of {theirs.size} endings: at most {apart:.1e} apart")
    print(f"endings: acc {by['acc']:.4f} by lm-eval, {right.mean():.4f} by bothways; 0.25 by chance")
    print(f"texts: bits per byte {by['bits']:.5f} by lm-eval, {bits:.5f} by bothways")
    if apart > 1e-3 or abs(by["bits"] - bits) > 1e-4:
        raise SystemExit("they differ")


if __name__ == "__main__":
    main()
