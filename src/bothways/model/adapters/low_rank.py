"""LoRA: a linear layer with products of two narrow matrices added to it, some of its rows at a time.

Letters: T tokens, I what comes in, O what goes out, P products of the layer that are adapted, R rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from bothways.model.kernels import apply


class LoraLinear(nn.Module):
    """In the place of a linear layer, whose weight and bias it has, under their names, as they are.

    Of a layer that is several products, one under the other (q, k and v), each that is adapted has its own A and B. The
    A's are one product, so that what comes in is read once; each B adds to its own rows.

    Args:
        linear: the layer.
        rows: of each product that is adapted, from where to where.
        rank: of each.
        scale: of what is added.
        dropout: share of what the A's read that is dropped in training.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self, linear: nn.Linear, rows: Sequence[range], *, rank: int, scale: float, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.register_parameter("weight", cast("nn.Parameter", linear.weight))
        self.register_parameter("bias", cast("nn.Parameter | None", linear.bias))
        self.rows, self.rank, self.scale, self.dropout = tuple(rows), rank, scale, dropout
        like = linear.weight
        self.lora_a = nn.Parameter(like.new_empty(len(self.rows) * rank, like.shape[1]))
        self.lora_b = nn.Parameter(like.new_zeros(sum(map(len, self.rows)), rank))

    @property
    def in_features(self) -> int:
        """I."""
        return self.weight.shape[1]

    @property
    def out_features(self) -> int:
        """O."""
        return len(self.weight)

    @torch.no_grad()
    def begin(self, generator: torch.Generator) -> None:
        """A as a linear layer begins, B zero: nothing is added yet."""
        bound = self.lora_a.shape[1] ** -0.5
        self.lora_a.uniform_(-bound, bound, generator=generator)
        self.lora_b.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] -> [..., O]."""
        read = F.dropout(x, self.dropout) if self.training and self.dropout else x
        result: Tensor = apply(_LowRank, x, read, self.lora_a, self.lora_b, self)
        return result

    def parts(self, a: Tensor, b: Tensor) -> list[tuple[range, Tensor, Tensor]]:
        """The rows of each product, its A [R, ...] and its B [..., R]; of any two tensors laid out so."""
        lengths = [len(rows) for rows in self.rows]
        return list(zip(self.rows, a.split(self.rank), b.split(lengths), strict=True))

    @torch.no_grad()
    def added(self) -> Tensor:
        """What is added to the weight, [O, I] in float32 at least."""
        wide = torch.promote_types(self.weight.dtype, torch.float32)
        found = torch.zeros(self.weight.shape, dtype=wide, device=self.weight.device)
        for rows, a, b in self.parts(self.lora_a, self.lora_b):
            found[rows.start : rows.stop].addmm_(b.to(wide), a.to(wide), alpha=self.scale)
        return found


class _LowRank(Function):
    """x W' + bias, and to the rows of each product scale * read A' B'; W and bias learn nothing.

    All of it is written into one output: each added product is one call over its columns.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, read: Tensor, a: Tensor, b: Tensor, own: LoraLinear) -> Tensor:
        result = F.linear(x, own.weight, own.bias)
        narrow = F.linear(read, a)  # [..., P*R]
        flat, columns = result.flatten(0, -2), narrow.flatten(0, -2).split(own.rank, dim=1)
        for (rows, _, wide), column in zip(own.parts(a, b), columns, strict=True):
            flat[:, rows.start : rows.stop].addmm_(column, wide.t(), alpha=own.scale)
        ctx.save_for_backward(read, a, b, narrow)
        ctx.own, ctx.apart = own, read is not x
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        read, a, b, narrow = ctx.saved_tensors
        own, grad = ctx.own, grads[0].flatten(0, -2)
        back = torch.empty_like(narrow).flatten(0, -2)  # gradients of what the A's give
        grad_b = torch.empty_like(b)
        columns = zip(own.parts(a, b), back.split(own.rank, 1), narrow.flatten(0, -2).split(own.rank, 1), strict=True)
        for ((rows, _, wide), column, given), of_b in zip(columns, grad_b.split([*map(len, own.rows)]), strict=True):
            answer = grad[:, rows.start : rows.stop]
            torch.addmm(column, answer, wide, beta=0, alpha=own.scale, out=column)
            torch.addmm(of_b, answer.t(), given, beta=0, alpha=own.scale, out=of_b)
        grad_a = back.t() @ read.flatten(0, -2)
        of_x = of_read = None
        if ctx.needs_input_grad[0]:
            of_x = grad @ own.weight
            if not ctx.apart:
                of_x.addmm_(back, a)
            of_x = of_x.view(read.shape)
        if ctx.needs_input_grad[1] and ctx.apart:
            of_read = (back @ a).view(read.shape)
        return of_x, of_read, grad_a, grad_b, None
