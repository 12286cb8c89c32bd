"""The float32 master weights behind a model, and the gradients that reach them.

A parameter that requires no gradient is frozen: it has no gradient, no state in an optimiser and no place in a
checkpoint, and stays as it is to the last bit. One that no loss of a step reaches, in any process, has no gradient in
that step: it is not decayed, and no momentum of earlier steps moves it.

Two kinds with one face: `Replicated` keeps everything in flat buffers on every process and sums gradients with one
all-reduce; `Sharded` leaves splitting and summing to FSDP2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ParamSpec, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bothways.errors import MachineError
from bothways.model.backbone import Stack

P = ParamSpec("P")
R = TypeVar("R")


KINDS = ("matrices", "tables", "vectors")


def kinds(model: nn.Module) -> dict[str, str]:
    """The kind of every parameter that learns, by its name.

    matrices  weights of the linear layers inside blocks
    tables    all others of two dimensions: embeddings, heads, projections
    vectors   norms and biases
    """
    inside = {
        id(layer.weight)
        for stack in model.modules()
        if isinstance(stack, Stack)
        for layer in stack.blocks.modules()
        if isinstance(layer, nn.Linear)
    }
    return {
        name: "vectors" if parameter.dim() < 2 else "matrices" if id(parameter) in inside else "tables"
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that FSDP2 may have split (every process must call)."""
    gather = getattr(tensor, "full_tensor", None)
    found: Tensor = tensor if gather is None else gather()
    return found.detach()


def split_like(value: Tensor, weight: Tensor) -> Tensor:
    """A whole tensor, where and split as `weight` is."""
    mesh = getattr(weight, "device_mesh", None)
    if mesh is None:
        return value.to(weight.device)
    from torch.distributed.tensor import distribute_tensor

    split: Tensor = distribute_tensor(value.to(weight.device), mesh, weight.placements)  # type: ignore[attr-defined]
    return split


def by_kind(weights: Weights, model: nn.Module) -> dict[str, list[Tensor]]:
    """The master weights of each kind."""
    found: dict[str, list[Tensor]] = {kind: [] for kind in KINDS}
    for name, kind in kinds(model).items():
        found[kind].append(weights.master[name])
    return found


class Weights(Protocol):
    """What the loop and the optimisers need of either kind.

    in_step  whether all processes pass their micro-batches at the same time
    """

    in_step: bool

    @property
    def master(self) -> Mapping[str, Tensor]:
        """{name: float32 weight} with its gradient in `.grad`: what optimisers change."""

    @property
    def frozen(self) -> Mapping[str, Tensor]:
        """{name: float32 weight} of what does not learn."""

    def around(self, function: Callable[P, R]) -> Callable[P, R]:
        """The same function, with whole weights in the model while it runs."""

    def accumulate(self) -> None:
        """Adds the model's gradients of one micro-batch to those of the step."""

    def reset_gradients(self) -> None:
        """Throws away what this process has collected of the step.

        Raises:
            MachineError: the others have a part in it.
        """

    def reduce(self) -> Tensor:
        """Sums the step's gradients over all processes; returns their norm, the same on every process."""

    def scale(self, factor: Tensor | float) -> None:
        """Multiplies the step's gradients."""

    def sync_model(self) -> None:
        """Gives the model what the optimiser has changed, and forgets the gradients."""


class Replicated:
    """One flat float32 buffer for the weights and one for the gradients; the model computes in `dtype`.

    The model's parameters become views of a flat buffer, so a copy in the other precision is one call.
    """

    in_step = False

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        order = kinds(model)
        every = dict(model.named_parameters())
        named = [(name, every[name]) for name in sorted(order, key=lambda name: KINDS.index(order[name]))]
        self.parameters = dict(named)
        total = sum(parameter.numel() for parameter in self.parameters.values())
        device = named[0][1].device
        self.flat = torch.cat([parameter.detach().float().flatten() for _, parameter in named])
        self.gradient = torch.zeros(total, dtype=torch.float32, device=device)
        self.low = self.flat if dtype == torch.float32 else self.flat.to(dtype)
        self.master = dict(self._views(self.flat))
        self.gradients = dict(self._views(self.gradient))
        for (_, low), parameter in zip(self._views(self.low), self.parameters.values(), strict=True):
            parameter.data = low
        self.reached = [False] * len(named)
        self.frozen = {name: every[name].detach().float() for name in every if name not in order}
        for name, weight in self.frozen.items():
            every[name].data = weight.to(dtype)

    def _views(self, flat: Tensor) -> list[tuple[str, Tensor]]:
        sizes = [parameter.numel() for parameter in self.parameters.values()]
        tokens = flat.split(sizes)
        shapes = self.parameters.items()
        return [(name, token.view(shape.shape)) for (name, shape), token in zip(shapes, tokens, strict=True)]

    def around(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function itself: every process has all weights."""
        return function

    def accumulate(self) -> None:
        """Adds the gradients of a micro-batch to those of the step."""
        for number, (name, parameter) in enumerate(self.parameters.items()):
            if parameter.grad is not None:
                self.gradients[name].add_(parameter.grad)
                self.reached[number] = True
                parameter.grad = None

    def reset_gradients(self) -> None:
        """Throws away what was collected, and what a backward that was broken off has left."""
        for parameter in self.parameters.values():
            parameter.grad = None
        self._clear()

    def _clear(self) -> None:
        self.gradient.zero_()
        self.reached = [False] * len(self.reached)

    def reduce(self) -> Tensor:
        """Sums the gradients of all processes; returns their norm."""
        if dist.is_initialized():
            dist.all_reduce(self.gradient)
            anywhere = torch.tensor(self.reached, dtype=torch.int32, device=self.gradient.device)
            dist.all_reduce(anywhere, op=dist.ReduceOp.MAX)
            self.reached = [bool(one) for one in anywhere.tolist()]
        for reached, (name, weight) in zip(self.reached, self.master.items(), strict=True):
            weight.grad = self.gradients[name] if reached else None
        norm: Tensor = torch.linalg.vector_norm(self.gradient)
        return norm

    def scale(self, factor: Tensor | float) -> None:
        """Multiplies all gradients."""
        self.gradient.mul_(factor)

    def sync_model(self) -> None:
        """Hands the changed weights to the model, and clears the gradients."""
        if self.low is not self.flat:
            self.low.copy_(self.flat)
        self._clear()


class Sharded:
    """FSDP2 (torch.distributed.fsdp.fully_shard): every process holds a share of each float32 weight."""

    in_step = True

    def __init__(self, model: nn.Module, dtype: torch.dtype, blocks: Sequence[nn.Module], device: torch.device) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        self._root = _Root(model)
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        for part in (*blocks, self._root):
            sharded = fully_shard(part, mesh=mesh, mp_policy=policy)
            sharded.set_gradient_divide_factor(1.0)  # the loss is already divided by the count of all processes
            sharded.set_force_sum_reduction_for_comms(True)  # gloo knows no other
        named = list(model.named_parameters())
        self.master = {name: parameter for name, parameter in named if parameter.requires_grad}
        self.frozen = {name: parameter for name, parameter in named if not parameter.requires_grad}

    def around(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function with the weights gathered while it runs."""
        return partial(self._root, function)

    def accumulate(self) -> None:
        """FSDP2 has summed them already."""

    def reset_gradients(self) -> None:
        """
        Raises:
            MachineError: always, since all processes compute every micro-batch together.
        """
        raise MachineError(
            "out of memory: where the weights are split, all processes compute a micro-batch together, and none can do "
            "it again alone. Go on from the last checkpoint with less at once: --resume --set training.micro_tokens=..."
        )

    def reduce(self) -> Tensor:
        """The norm of the gradients over all processes, which FSDP2 has summed."""
        norms = [torch.linalg.vector_norm(weight.grad) for weight in self.master.values() if weight.grad is not None]
        return whole(torch.linalg.vector_norm(torch.stack(norms)))

    def scale(self, factor: Tensor | float) -> None:
        """Multiplies all gradients."""
        for weight in self.master.values():
            if weight.grad is not None:
                weight.grad.mul_(factor)

    def sync_model(self) -> None:
        """Clears the gradients, and what FSDP2 has gathered of the weights before they changed."""
        for weight in self.master.values():
            weight.grad = None
        self._root.reshard()  # type: ignore[operator]


class _Root(nn.Module):
    """FSDP2 gathers weights around a module's forward; here any function of the model is that forward."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)
