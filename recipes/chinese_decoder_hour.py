"""A Chinese decoder (GPT) in an hour of two plain cores.

Good for: writing on, and scoring how probable a text is. Every Chinese character is a token of its own.
Reached: 1.904 bits per byte (trigram: 2.088), 27.2 % of next words right, with 9.5M tokens, four passes over Chinese
novels; `--budget 20min` on one core of an Intel Xeon with AVX-512 (31 minutes on a busy host), one seed. In
docs/results.md, "Six objectives at equal compute, Chinese", the best learning rate was the highest that was tried, four
times this, at larger steps: search for yours. The search of four hours was not run.
Again:
    bothways prepare my-text-zh/ --vocabulary 12288 --out shards-zh
    bothways search shards-zh --objective causal --size tiny --hours 4 --processes 2 --out runs/search
    bothways pretrain shards-zh --config recipes/chinese_decoder_hour.py --processes 2 --out runs/decoder
"""

from __future__ import annotations

from typing import Any


def recipe() -> dict[str, Any]:
    """The settings of the run, without its shards and its folder."""
    return {
        "objective": "causal",
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
