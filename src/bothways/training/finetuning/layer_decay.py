"""The optimiser of fine-tuning: learning rates that fall from the head down."""

from __future__ import annotations

import torch
from torch import Tensor

from bothways.machine import dtype_of, precision_for
from bothways.model import Model
from bothways.training.finetuning.config import LearningSettings, rate_for
from bothways.training.state import State
from bothways.training.weights import Replicated


def optimiser(config: LearningSettings, weights: Replicated, *, layers: int, width: int) -> torch.optim.Optimizer:
    """AdamW; the rate falls by `layer_decay` with every layer down from the head; vectors are not decayed.

    Of an encoder-decoder, the encoder has a share `encoder_rate` of the rate, as what is new beside it learns faster
    (BERTSUM, Liu & Lapata 2019, section 3.2; the paper warms them up differently, too).
    """
    groups: dict[tuple[int, bool, float], list[Tensor]] = {}
    encoder_decoder = any(name.startswith("decoder.") for name in weights.master)
    for name, weight in weights.master.items():
        share = config.encoder_rate if encoder_decoder and name.startswith("backbone.") else 1.0
        groups.setdefault((_depth(name, layers), weight.dim() >= 2, share), []).append(weight)
    rate = rate_for(config, width)
    made = torch.optim.AdamW(
        [
            {
                "params": params,
                "lr": rate * share * config.layer_decay ** (layers + 1 - depth),
                "weight_decay": config.weight_decay if matrix else 0.0,
            }
            for (depth, matrix, share), params in groups.items()
        ],
        betas=(0.9, 0.999),
        eps=1e-8,
        fused=True,
    )
    for group in made.param_groups:
        group["peak"] = group["lr"]
    return made


def state_for(
    config: LearningSettings, model: Model, *, device: torch.device, begun: str | None = None
) -> tuple[State, str]:
    """The model on a device with its optimiser, and the precision that it computes in; `begun`: see `precision_for`."""
    precision = precision_for(config.precision, device=device, begun=begun)
    weights = Replicated(model.to(device), dtype_of(precision))
    return State(weights, [optimiser(config, weights, layers=model.config.layers, width=model.config.width)]), precision


def _depth(name: str, layers: int) -> int:
    """0 for the embeddings, 1 for the first block, ..., and one more than the last block for what is above them."""
    if name.startswith("backbone.embeddings."):
        return 0
    return int(name.split(".")[2]) + 1 if name.startswith("backbone.blocks.") else layers + 1
