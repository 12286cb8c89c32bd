"""An adapter merged into the weights it is added to: a plain model, which needs nothing of it."""

from __future__ import annotations

import torch
from torch import nn

from bothways.errors import ModelError
from bothways.model.adapters.low_rank import LoraLinear
from bothways.model.adapters.placing import sharing
from bothways.model.model import Model


@torch.no_grad()
def merged(model: Model) -> Model:
    """The same model without adapters, their products added to its weights; what they are not added to is shared.

    Norms and biases that were learned are weights of the model already.

    Raises:
        ModelError: a soft prompt or a prefix, which no weight can hold.
    """
    if model.backbone.prefix is not None or model.backbone.embeddings.prompt is not None:
        what = "prefix" if model.backbone.prefix is not None else "soft prompt"
        raise ModelError(
            f"a {what} is added to what the model reads, not to its weights, so that it cannot be merged: keep the "
            "adapter beside its base, or fine-tune one with lora"
        )
    found = sharing(model)
    for name, module in list(found.named_modules()):
        if isinstance(module, LoraLinear):
            before, _, last = name.rpartition(".")
            setattr(found.get_submodule(before), last, plain(module))
    return found


def plain(module: LoraLinear) -> nn.Linear:
    """One linear layer that gives the same."""
    weight = module.weight + module.added().to(module.weight.dtype)
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=module.bias is not None, device="meta")
    made.weight = nn.Parameter(weight)
    made.register_parameter("bias", module.bias)
    return made.train(module.training)
