"""all-MiniLM-L6-v2 goes on with text of your own.

Good for: labels and vectors of a kind of text that the published model has not read. Learning rates are a fifth of
those of a new model; text like that which the model knows keeps it from forgetting: `--set replay=SHARDS`.
Reached: not measured yet with this model. Near it: a model of 3.3M weights on its own kind of text, 29.4 % of hidden
words right before and 41.4 % after 41 minutes of one core, docs/results.md, "What pretraining on one's own text is
worth".
Again:
    bothways prepare my-text/ --tokenizer sentence-transformers/all-MiniLM-L6-v2 --out own
    bothways search own --from sentence-transformers/all-MiniLM-L6-v2 --objective mlm --hours 4 --out runs/search
    bothways pretrain own --config recipes/minilm_domain.py --out runs/domain
"""

from __future__ import annotations

from typing import Any


def recipe() -> dict[str, Any]:
    """The settings of the run, without its shards and its folder."""
    return {
        "objective": "mlm",
        "start": "sentence-transformers/all-MiniLM-L6-v2",
        "training": {
            "budget": "40min",
            "length": 128,
            "step_tokens": 8192,
            "schedule": {
                "shape": "wsd",
                "warmup_steps": 50,
                "decay": 0.3,
            },
        },
    }
