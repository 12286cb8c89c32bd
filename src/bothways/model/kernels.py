"""Four operations with a hand-written backward, because they decide the speed on a CPU.

Autograd's own versions allocate an intermediate for every arithmetic step; these keep what the backward needs and
nothing else. Each equals the plain formula (tests/model/test_kernels.py compares values and gradients).

Letters: N tokens, D width, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


class _NoBackward:
    """What a forward pass writes to where no backward pass will come."""

    needs_input_grad = (False,) * 8

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Nothing is kept."""

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Nothing is."""


def apply(function: Any, *inputs: Any) -> Any:
    """Function.apply; without gradients the forward pass alone, since apply costs as much as a norm of one token."""
    if torch.is_grad_enabled():
        return function.apply(*inputs)
    return function.forward(_NoBackward(), *inputs)


class _RMSNorm(Function):
    """y = x / rms(x) * weight (Zhang & Sennrich 2019); the root mean square is taken in float32, or in float64."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide).square_()
        inverse = square.div_(x.shape[-1]).add_(epsilon).rsqrt_().to(x.dtype)
        normed = x * inverse
        ctx.save_for_backward(normed, inverse, weight)
        result: Tensor = normed * weight
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (grad,) = grads
        normed, inverse, weight = ctx.saved_tensors
        product = grad * normed
        dot = (product @ weight).div_(normed.shape[-1]).unsqueeze(-1)
        grad_x = torch.addcmul(grad * weight, normed, dot, value=-1).mul_(inverse)
        return grad_x, product.flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None, None


class _SwiGLU(Function):
    """silu(gate) * up (Shazeer 2020); all it keeps beside its inputs is silu(gate)."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        gated = F.silu(gate)
        ctx.save_for_backward(gate, up, gated)
        return gated * up

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (grad,) = grads
        gate, up, gated = ctx.saved_tensors
        grad_gate = grad * up
        return torch.ops.aten.silu_backward.grad_input(grad_gate, gate, grad_input=grad_gate), grad * gated


LOGITS_AT_ONCE = 2**25  # 64 MiB of bf16 logits
SMALLEST = torch.finfo(torch.float32).tiny


class _LinearCrossEntropy(Function):
    """Weighted sum of -log softmax(hidden @ weight.T)[label]; the gradient is made in the forward pass.

    The logits live for one chunk of tokens only, and become their own gradient in place: softmax minus the answer.
    With `uniforms`, a token is drawn from each softmax on the way (ELECTRA); no gradient goes through the draw.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        labels: Tensor,
        weights: Tensor,
        uniforms: Tensor | None,
        temperature: float,
    ) -> tuple[Tensor, Tensor]:
        chunk = max(1, LOGITS_AT_ONCE // weight.shape[0])
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if wanted else None
        grad_weight: Tensor | None = None
        drawn = []
        for h, label, w, out, chance in zip(
            hidden.split(chunk),
            labels.split(chunk),
            weights.split(chunk),
            (hidden if grad_hidden is None else grad_hidden).split(chunk),
            (weights if uniforms is None else uniforms).split(chunk),
            strict=True,
        ):
            share = F.linear(h, weight).softmax(-1)
            drawn += [] if uniforms is None else [draw(share, chance, temperature)]
            answer = share.gather(1, label[:, None])
            # Not in place: in float32, `answer` is this very tensor. An improbable answer costs at most 87 nats.
            total += (answer.float().clamp(min=SMALLEST).log()[:, 0] * -w).sum()
            if grad_hidden is None:
                continue
            share[torch.arange(len(label), device=label.device), label] = answer[:, 0] - 1
            share.mul_(w[:, None].to(share.dtype))
            torch.mm(share, weight, out=out)
            if not ctx.needs_input_grad[1]:
                continue
            grad_weight = share.t() @ h if grad_weight is None else grad_weight.addmm_(share.t(), h)
        ctx.save_for_backward(grad_hidden, grad_weight)
        tokens = torch.cat(drawn) if drawn else labels.new_empty(0)
        ctx.mark_non_differentiable(tokens)
        return total, tokens

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        scale = grads[0]
        return grad_hidden * scale, None if grad_weight is None else grad_weight * scale, None, None, None, None


class _LinearLogLikelihoods(Function):
    """log softmax(hidden @ weight.T)[label] of every token. The logits of a chunk live forward, and are made again
    backward: what a loss makes of the likelihoods is known only then."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, weight, labels)
        wide, chunk = torch.promote_types(hidden.dtype, torch.float32), max(1, LOGITS_AT_ONCE // weight.shape[0])
        found = [
            -F.cross_entropy(F.linear(h, weight).to(wide), label, reduction="none")
            for h, label in zip(hidden.split(chunk), labels.split(chunk), strict=True)
        ]
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        hidden, weight, labels = ctx.saved_tensors
        (grad,), chunk = grads, max(1, LOGITS_AT_ONCE // weight.shape[0])
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for h, label, g, out in zip(*(one.split(chunk) for one in (hidden, labels, grad, grad_hidden)), strict=True):
            share = F.linear(h, weight).to(grad.dtype).softmax(-1).mul_(-g[:, None])
            share[torch.arange(len(label), device=label.device), label] += g
            share = share.to(weight.dtype)
            torch.mm(share, weight, out=out)
            if grad_weight is not None:
                grad_weight.addmm_(share.t(), h)
        return grad_hidden, grad_weight, None


def draw(share: Tensor, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
    """A token from each distribution [N, V] (sums need not be 1) by a number of 0..1 [N]: the inverse of the sum.

    At another temperature each share is taken to the power of 1 / temperature, the largest being 1 before.
    """
    if temperature != 1.0:
        share = (share.float() / share.amax(-1, keepdim=True)).pow(1 / temperature)
    upto = share.cumsum(-1, dtype=torch.float32)
    place = torch.searchsorted(upto, uniforms[:, None] * upto[:, -1:], right=True)
    return place[:, 0].clamp(max=share.shape[-1] - 1)


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """x [..., D] over its root mean square, times weight [D]."""
    if not torch.is_grad_enabled() and x.dtype == weight.dtype:
        return F.rms_norm(x, weight.shape, weight, epsilon)  # one call: of few tokens, calls are what costs
    result: Tensor = apply(_RMSNorm, x, weight, epsilon)
    return result


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, each [..., F]."""
    result: Tensor = apply(_SwiGLU, gate, up)
    return result


def linear_cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """hidden [N, D], weight [V, D], labels [N], weights [N] float32 -> weighted sum of negative log-likelihoods."""
    result: Tensor = apply(_LinearCrossEntropy, hidden, weight, labels, weights, None, 1.0)[0]
    return result


def linear_cross_entropy_and_draw(
    hidden: Tensor, weight: Tensor, labels: Tensor, weights: Tensor, uniforms: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The same, and a token [N] drawn from each distribution by `uniforms` [N], float32 of 0..1 (`draw`)."""
    total, drawn = apply(_LinearCrossEntropy, hidden, weight, labels, weights, uniforms, temperature)
    return total, drawn


def linear_log_likelihoods(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """hidden [N, D], weight [V, D], labels [N] -> the log-likelihood of each label, [N], float32 or wider, in nats."""
    result: Tensor = apply(_LinearLogLikelihoods, hidden, weight, labels)
    return result
