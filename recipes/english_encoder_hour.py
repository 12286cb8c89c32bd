"""An English encoder (BERT) in an hour of two plain cores.

Good for: labels, tags and vectors of English text, some 20M tokens read by `tiny` at the speed of two cores
without bf16 instructions.
Reached: 3.568 nats at hidden words, 32.3 % of them right (the commonest word: 5.7 %), with 17.5M tokens, two passes
over English books; `--budget 20min` on one core of an Intel Xeon with AVX-512, nearly as much as two plain cores
read in an hour; one seed (docs/results.md, "At equal time beside MLM"). The search of four hours was not run.
Again:
    bothways prepare my-text/ --out shards
    bothways search shards --objective mlm --size tiny --hours 4 --processes 2 --out runs/search
    bothways pretrain shards --config recipes/english_encoder_hour.py --processes 2 --out runs/encoder
"""

from __future__ import annotations

from typing import Any


def recipe() -> dict[str, Any]:
    """The settings of the run, without its shards and its folder."""
    return {
        "objective": "mlm",
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
