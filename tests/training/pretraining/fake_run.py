"""A run folder as five minutes of a hybrid run would leave it, without the five minutes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

BASELINES = {
    "unigram": {"nats": 6.872, "bits_per_byte": 2.655, "next_accuracy": 0.051, "fill_accuracy": 0.0513},
    "bigram": {"nats": 5.267, "bits_per_byte": 2.035, "next_accuracy": 0.1563, "fill_accuracy": None},
    "trigram": {"nats": 5.085, "bits_per_byte": 1.965, "next_accuracy": 0.1903, "fill_accuracy": None},
}
SAMPLES = {
    "fills": [
        {
            "text": "The function returns a new [MASK] containing the items.",
            "hidden": "list",
            "answers": [
                {"token": " list", "probability": 0.413},
                {"token": " object", "probability": 0.127},
                {"token": " string", "probability": 0.094},
                {"token": " tuple", "probability": 0.071},
                {"token": " dictionary", "probability": 0.052},
            ],
        },
        {
            "text": "If the file does not [MASK], an error is raised.",
            "hidden": "list",
            "answers": [
                {"token": " exist", "probability": 0.662},
                {"token": " match", "probability": 0.083},
                {"token": " close", "probability": 0.021},
                {"token": " <script>", "probability": 0.0154},
                {"token": " 文件", "probability": 0.011},
            ],
        },
    ],
    "continuations": [
        {
            "prompt": "Return the number of",
            "text": " elements in the array. If the optional argument is given, the number of items is counted from "
            "the beginning of the sequence, and a ValueError is raised if it is not an integer.\n\nThe default is 0.",
        },
        {
            "prompt": "This module provides",
            "text": "This module provides an interface to the Unix shell. It is used by the main & <b>not</b> here.",
        },
    ],
}
CONFIG = """\
objective: 1/2 causal + 1/2 mlm
size: tiny
seed: 0
training:
  budget: {seconds: 300}
  learning_rate: 0.003
  optimiser: adamw
  schedule: {shape: wsd, warm_up: 0.02, cool_down: 0.2}
  batch_tokens: 16384
  length: 128
data: shards/  # <made by bothways prepare>
"""


def metrics(steps: int, *, every: int = 5, validations: int = 12) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl with the shapes of real ones: losses that fall fast, then slowly, and noise."""
    rng = np.random.default_rng(0)
    lines: list[dict[str, Any]] = []
    marks = {round(steps * part / validations) for part in range(validations + 1)}

    def level(step: int, end: float) -> float:
        return end + (9.05 - end) * 0.5 * (math.exp(-step / 60) + (1 + step / 40) ** -0.55)

    for step in range(steps + 1):
        seconds, tokens = 4.0 + step * 0.29, step * 16_384
        counted = {"step": step, "tokens": tokens, "flops": tokens * 2.9e7, "seconds": seconds}
        if step and (step % every == 0 or step == 1):
            losses = {"causal": level(step, 3.9) + rng.normal(0, 0.06), "mlm": level(step, 3.75) + rng.normal(0, 0.13)}
            rate = 0.003 * min(1.0, step / 25) * min(1.0, (steps - step) / (0.2 * steps) + 0.01)
            lines.append(
                {
                    "kind": "train",
                    "progress": step / steps,
                    **counted,
                    "loss": sum(losses.values()) / 2,
                    "losses": losses,
                }
                | {"learning_rate": rate, "gradient_norm": 0.5 + 4 * math.exp(-step / 30) + abs(rng.normal(0, 0.15))}
                | {"tokens_per_second": 56_000 + rng.normal(0, 900), "useful_share": 0.67 + rng.normal(0, 0.01)}
                | {"padding": 0.02}
                | {"skipped": 0}
            )
        if step in marks:
            causal, mlm = level(step, 3.98), level(step, 3.88)
            lines.append(
                {"kind": "validation", **counted, "losses": {"causal": causal, "mlm": mlm}}
                | {"bits_per_byte": {"causal": causal * 0.3864}}
                | {"fill_accuracy": 0.42 * (1 - mlm / 9.1) ** 0.9, "next_accuracy": 0.4 * (1 - causal / 9.1)}
            )
    return lines


def manifest() -> dict[str, Any]:
    return {
        "status": "done",
        "versions": {"bothways": "0.1.0", "python": "3.11.2", "torch": "2.13.0+cpu", "tokenizers": "0.23.3"},
        "data": {
            "shards": "shards/",
            "hash": "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
            "train": {"documents": 4120, "tokens": 3_912_004, "bytes": 15_204_113},
            "validation": {"documents": 83, "tokens": 78_220, "bytes": 301_553},
            "duplicates": 212,
        },
        "model": {"size": "tiny", "parameters": 1_849_856, "layers": 4, "width": 128, "vocabulary": 8192, "tied": True},
        "text": {
            "tokens": 3_912_004,
            "documents": 4120,
            "held_out": {"tokens": 78_220, "documents": 83},
            "vocabulary": 8192,
            "bytes_per_token": 3.97,
            "tokens_per_word": 1.31,
            "unknown": 0.0002,
            "read": 4415,
            "duplicates": 212,
            "lengths": {"64": 410, "128": 1100, "256": 0, "512": 2610},
            "median_length": 702,
            "longest": 1020,
        },
        "baselines": {name: {**found, "counted": 3_912_004, "of": 3_912_004} for name, found in BASELINES.items()},
        "samples": SAMPLES,
    }


def write_run(folder: Path, *, steps: int = 1000) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = metrics(steps)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps(manifest()), encoding="utf-8")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return folder
