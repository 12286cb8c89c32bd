"""LAMB with large batches (You et al. 2020, BERT in 76 minutes), scaled down to an hour of two plain cores.

Good for: many processes, each step of which waits for the slowest: few large steps. On one machine Muon with small
steps is the better start. Of the paper: LAMB, large steps (there 32,768 rows in place of 256), a rate that grows with
the root of the step, a linear warm-up and a linear decay to zero. Scaled down: 512 rows of 128 tokens, a rate of
1e-2 for 64 rows times the root of 8 (not searched for), and a warm-up of 50 of about 300 steps.
Reached: not measured yet.
Again:
    bothways prepare my-text/ --out shards
    bothways pretrain shards --config recipes/lamb_large_batch.py --processes 2 --out runs/lamb
    bothways search shards --objective mlm --hours 8 --processes 2 --out runs/search --set training.step_tokens=65536 \\
        --set training.optimiser.name=lamb --set training.optimiser.learning_rate=0.0283 \\
        --set training.optimiser.weight_decay=0.01 --set 'training.optimiser.betas=[0.9, 0.999]' \\
        --set training.optimiser.epsilon=1e-6 --set training.schedule.shape=linear \\
        --set 'space=[{rate: [0.5, 1, 2]}]'
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
            "step_tokens": 65536,
            "optimiser": {
                "name": "lamb",
                "learning_rate": 0.0283,
                "betas": [0.9, 0.999],
                "epsilon": 1e-06,
                "weight_decay": 0.01,
            },
            "schedule": {
                "shape": "linear",
                "warmup_steps": 50,
            },
        },
    }
