"""A model that reads both ways (hybrid) in an hour of a core with AMX.

Good for: filling in, writing on and vectors with one set of weights.
Reached: 1.678 bits per byte (trigram: 1.729), 35.9 % of hidden words and 23.5 % of next words right; 17.0M tokens of
English books, speeches, reference texts and Python's documentation in 3,954 s of one core of an Intel Xeon with AMX,
one seed (docs/results.md, "An hour of mini on the English corpora"). With steps of
16,384 tokens, the default then; on two plain cores: not measured.
Again:
    bothways prepare my-text/ --out shards
    bothways pretrain shards --config recipes/hybrid_hour.py --out runs/hybrid
    bothways search shards --objective hybrid --size mini --hours 8 --out runs/search \\
        --set 'space=[{training.step_tokens: [4096, 8192, 16384]}, {rate: [0.5, 1, 2]}]'
"""

from __future__ import annotations

from typing import Any


def recipe() -> dict[str, Any]:
    """The settings of the run, without its shards and its folder."""
    return {
        "objective": "hybrid",
        "size": "mini",
        "training": {
            "budget": "1h",
            "length": 128,
            "step_tokens": 16384,
            "optimiser": {
                "name": "muon",
                "learning_rate": 0.003536,
                "adam_learning_rate": 0.003536,
            },
            "schedule": {
                "shape": "wsd",
                "warmup_steps": 50,
                "decay": 0.3,
            },
        },
    }
