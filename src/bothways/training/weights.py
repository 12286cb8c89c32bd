"""The float32 master weights behind a model, and the gradients that reach them.

Two kinds with one face: `Replicated` keeps everything in flat buffers on every process and sums gradients with one
all-reduce; `Sharded` leaves splitting and summing to FSDP2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn


def kind(name: str, parameter: Tensor) -> str:
    """matrices (of the blocks), tables (embeddings) or vectors (norms, biases)."""
    if parameter.dim() < 2:
        return "vectors"
    return "tables" if "embeddings" in name else "matrices"


KINDS = ("matrices", "tables", "vectors")


class Weights(Protocol):
    master: Mapping[str, Tensor]
    """{name: float32 weight}, with `.grad` set when `norm_of_gradients` returns; what optimisers change."""

    def collect(self) -> None:
        """Adds the model's gradients of one micro-batch to those of the step."""

    def reduce(self) -> Tensor:
        """Sums the step's gradients over all processes; returns their norm, the same on every process."""

    def scale(self, factor: Tensor | float) -> None:
        """Multiplies the step's gradients."""

    def publish(self) -> None:
        """Gives the model what the optimiser has changed, and forgets the gradients."""


class Replicated:
    """One flat float32 buffer for the weights and one for the gradients; the model computes in `dtype`.

    The model's parameters become views of a flat buffer, so a copy in the other precision is one call.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        named = sorted(model.named_parameters(), key=lambda item: KINDS.index(kind(*item)))
        self.parameters = dict(named)
        total = sum(parameter.numel() for parameter in self.parameters.values())
        device = named[0][1].device
        self.flat = torch.cat([parameter.detach().float().flatten() for _, parameter in named])
        self.gradient = torch.zeros(total, dtype=torch.float32, device=device)
        self.low = self.flat if dtype == torch.float32 else self.flat.to(dtype)
        self.master = {name: view for name, view in self._views(self.flat)}
        self.gradients = {name: view for name, view in self._views(self.gradient)}
        for (name, low), parameter in zip(self._views(self.low), self.parameters.values(), strict=True):
            parameter.data = low
            self.master[name].grad = self.gradients[name]

    def _views(self, flat: Tensor) -> list[tuple[str, Tensor]]:
        sizes = [parameter.numel() for parameter in self.parameters.values()]
        pieces = flat.split(sizes)
        shapes = self.parameters.items()
        return [(name, piece.view(shape.shape)) for (name, shape), piece in zip(shapes, pieces, strict=True)]

    def collect(self) -> None:
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                self.gradients[name].add_(parameter.grad)
                parameter.grad = None

    def reduce(self) -> Tensor:
        if dist.is_initialized():
            dist.all_reduce(self.gradient)
        return torch.linalg.vector_norm(self.gradient)

    def scale(self, factor: Tensor | float) -> None:
        self.gradient.mul_(factor)

    def publish(self) -> None:
        if self.low is not self.flat:
            self.low.copy_(self.flat)
        self.gradient.zero_()


class Sharded:
    """FSDP2 (torch.distributed.fsdp.fully_shard): every process holds a share of each float32 weight."""

    def __init__(self, model: nn.Module, dtype: torch.dtype, blocks: Sequence[nn.Module]) -> None:
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        for block in blocks:
            fully_shard(block, mp_policy=policy)
        root = fully_shard(model, mp_policy=policy)
        root.set_gradient_divide_factor(1.0)  # the loss is already divided by the global count
        self.master = dict(model.named_parameters())

    def collect(self) -> None:
        """FSDP2 has summed them already."""

    def reduce(self) -> Tensor:
        norms = [torch.linalg.vector_norm(weight.grad) for weight in self.master.values() if weight.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(norms))
        full = getattr(norm, "full_tensor", None)
        return norm if full is None else full()

    def scale(self, factor: Tensor | float) -> None:
        for weight in self.master.values():
            if weight.grad is not None:
                weight.grad.mul_(factor)

    def publish(self) -> None:
        for weight in self.master.values():
            weight.grad = None
