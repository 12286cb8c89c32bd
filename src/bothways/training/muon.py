"""Muon: momentum whose matrices are made orthogonal (Jordan et al. 2024), at Adam's rates (Liu et al. 2025, sect. 2.2).

Bit-equal to torch.optim.Muon in one process. Among several, each makes its share of the matrices orthogonal and hands
the results round, where PyTorch's own does all the work on every process: a tenth of a step at `mini` on two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the iteration, chosen for its slope at zero
ITERATIONS = 5
MATCH = 0.2  # root mean square of an Adam update, which that of a matrix is scaled to


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal, with decoupled weight decay; for matrices only.

    m = momentum * m + (1 - momentum) * g;  u = momentum * m + (1 - momentum) * g
    w <- (1 - lr * decay) * w - 0.2 * sqrt(larger side) * lr * orthogonal(u)
    """

    def __init__(self, params: Any, *, lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step from the gradients; there is no closure to call."""
        assert closure is None
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            updates = orthogonal([self._momentum(weight, group["momentum"]) for weight in weights])
            for weight, update in zip(weights, updates, strict=True):
                if isinstance(weight, DTensor):
                    update = distribute_tensor(update, weight.device_mesh, weight.placements, src_data_rank=None)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-MATCH * max(weight.shape) ** 0.5 * group["lr"])

    def _momentum(self, weight: Tensor, momentum: float) -> Tensor:
        """Where the weight should go, whole, in bfloat16."""
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        ahead = gradient.lerp(mean, momentum)
        return (ahead.full_tensor() if isinstance(ahead, DTensor) else ahead).bfloat16()


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Each bfloat16 matrix with its singular values brought near 1; the processes share the work."""
    if not dist.is_initialized():
        return [newton_schulz(matrix) for matrix in matrices]
    rank, count = dist.get_rank(), dist.get_world_size()
    shares = [matrices[owner::count] for owner in range(count)]
    longest = max(sum(matrix.numel() for matrix in share) for share in shares)
    own = torch.cat([newton_schulz(matrix).flatten() for matrix in shares[rank]] or [matrices[0].new_empty(0)])
    parts = list(own.new_empty(count, longest))
    dist.all_gather(parts, F.pad(own, (0, longest - len(own))))
    result = list(matrices)
    for owner, (share, part) in enumerate(zip(shares, parts, strict=True)):
        sizes = [matrix.numel() for matrix in share]
        pieces = part[: sum(sizes)].split(sizes)
        result[owner::count] = [piece.view(matrix.shape) for piece, matrix in zip(pieces, share, strict=True)]
    return result


def newton_schulz(matrix: Tensor) -> Tensor:
    """U V' of a bfloat16 matrix U S V', nearly: five iterations, after which the singular values are 0.7 to 1.2."""
    a, b, c = COEFFICIENTS
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if matrix.shape[0] > matrix.shape[1] else x
