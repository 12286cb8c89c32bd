"""What needs no training, measured on the same items as the models: counting, chance, and a body as it begins."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import torch

from bothways.corpus import Shards
from bothways.evaluation.comparison.eval_data import EvalData
from bothways.evaluation.comparison.finetuned_metric import finetuned_items, finetuned_metric, untrained_run
from bothways.evaluation.comparison.metrics import BITS, FILL, NEXT, PAIRS, PSEUDO, counted, probe_metric, probed
from bothways.inference import load
from bothways.training.pretraining import PretrainConfig
from bothways.training.pretraining.artifacts import count_baselines


def baselines(
    config: PretrainConfig,
    shards: Shards,
    eval_data: EvalData,
    place: Path,
    *,
    device: torch.device | str | None = None,
) -> dict[str, dict[str, float]]:
    """{metric: {what needs no training: its figure}}: n-grams and chance; of probes the commonest class, tokens counted
    without a body, and the body with the weights that training starts from; of tasks that body, fine-tuned alike.

    Args:
        config: of a run; all begin with the same body.
        place: where that body is written; it is removed.
    """
    grams = count_baselines(shards, config.training.model_copy(update={"validation_rows": eval_data.rows}))
    found = {PAIRS.name: {"chance": 0.5}, PSEUDO.name: {"chance": 0.5}}
    for metric, key in ((BITS, "bits_per_byte"), (NEXT, "next_accuracy"), (FILL, "fill_accuracy")):
        found[metric.name] = {name: gram[key] for name, gram in grams.items() if gram.get(key) is not None}
    if not (eval_data.probes or eval_data.tasks):
        return found
    run = untrained_run(config, place)
    loaded = load(run, device=device)
    for name, sides in eval_data.probes.items():
        (commonest, _), *_ = Counter(example.gold for example in sides[0]).most_common(1)
        found[probe_metric(name).name] = {
            "commonest class": sum(example.gold == commonest for example in sides[1]) / len(sides[1]),
            "untrained body": probed(loaded, sides).figure,
            "TF-IDF, no body": counted(shards, sides).figure,
        }
    for name, files in eval_data.tasks.items():
        tuned = finetuned_items(run, files, seed=config.training.seed, device=device)
        found[finetuned_metric(name, files).name] = {"untrained body": tuned.figure}
    shutil.rmtree(place)
    return found
