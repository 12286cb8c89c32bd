"""ELECTRA in an hour of two plain cores: a discriminator, and the generator that it learned from.

Good for: finding words that were replaced. For labels and vectors `mlm` was ahead or tied at small budgets
(docs/results.md, "At equal time beside MLM").
Reached: an area of 0.643 under the ROC curve of replaced words, with 13.6M tokens of English books; `--budget 20min`
on one core of an Intel Xeon with AVX-512 (32 minutes on a busy host), one seed (docs/results.md, "At equal time beside
MLM"): at this rate it explains 5 % of what it could. In comparisons twice this rate was the best in English, a
quarter of it in Chinese: search for yours. The search of four hours was not run.
Again:
    bothways prepare my-text/ --out shards
    bothways search shards --objective electra --size tiny --hours 4 --processes 2 --out runs/search
    bothways pretrain shards --config recipes/electra_hour.py --processes 2 --out runs/electra
"""

from __future__ import annotations

from typing import Any


def recipe() -> dict[str, Any]:
    """The settings of the run, without its shards and its folder."""
    return {
        "objective": "electra",
        "size": "tiny",
        "training": {
            "budget": "1h",
            "length": 128,
            "step_tokens": 2048,
            "optimiser": {
                "name": "muon",
                "learning_rate": 0.005,
                "adam_learning_rate": 0.005,
            },
            "schedule": {
                "shape": "wsd",
                "warmup_steps": 50,
                "decay": 0.3,
            },
        },
    }
