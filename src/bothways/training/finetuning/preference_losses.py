"""The losses of preferences, as their papers have them, of log-likelihoods in nats.

Letters: P pairs, the chosen answer first, A answers, N tokens of answers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def dpo(policy: Tensor, reference: Tensor, *, beta: float, smoothing: float = 0.0) -> Tensor:
    """[P] of the log-likelihoods of answers [P, 2], under the model and under the reference: how much more the one
    prefers the chosen answer than the other does (DPO, Rafailov et al. 2023, section 4, equation 7).

    `smoothing` is how often a pair is the wrong way round (conservative DPO, Mitchell 2023). Of means over the tokens
    in place of sums it is length-normalised DPO (Tülu 3, Lambert et al. 2024, section 5.1.2, equation 6).
    """
    more = policy - reference
    apart = beta * (more[:, 0] - more[:, 1])
    return -(1 - smoothing) * F.logsigmoid(apart) - smoothing * F.logsigmoid(-apart)


def orpo(means: Tensor, *, beta: float) -> Tensor:
    """[P] of the mean log-likelihoods of a token of answers [P, 2]: the chosen one's own loss, and beta times that of
    the odds ratio (ORPO, Hong et al. 2024, section 4.2, equations 5 to 7). There is no reference."""
    odds = means - _log_of_the_rest(means)
    return -means[:, 0] - beta * F.logsigmoid(odds[:, 0] - odds[:, 1])


def kto(ratio: Tensor, sign: Tensor, base: Tensor, *, beta: float) -> Tensor:
    """[A] of the log-likelihoods of answers less the reference's [A], of the signs of good (1) and bad ones (-1), and
    of what both are compared with: 0, or the divergence from the reference where that is more (KTO, Ethayarajh et al.
    2024, section 4.2, equation 8, with lambda of 1; the weights of good and bad answers are the batch's)."""
    return 1 - torch.sigmoid(sign * beta * (ratio - base))


def grpo(policy: Tensor, before: Tensor, reference: Tensor, advantage: Tensor, *, clip: float, beta: float) -> Tensor:
    """[N] of the log-likelihoods of sampled tokens [N]: now, when they were sampled, and under the reference, and of
    the advantages of their answers [N] (GRPO, Shao et al. 2024, section 4.1.1, equations 3 and 4)."""
    ratio = (policy - before).exp()
    gained = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    return beta * divergence(policy, reference) - gained


def divergence(policy: Tensor, reference: Tensor) -> Tensor:
    """[N] of tokens that the model sampled: an unbiased estimate of KL(model, reference) that is never below 0 (k3,
    Schulman 2020)."""
    more = reference - policy
    return more.exp() - more - 1


def advantages(rewards: Tensor) -> Tensor:
    """Rewards [groups, answers], each less the mean of its group and divided by its spread (Shao et al. 2024, section
    4.1.2); 0 where all are alike."""
    if rewards.shape[1] < 2:
        return torch.zeros_like(rewards)
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)


def _log_of_the_rest(logs: Tensor) -> Tensor:
    """log(1 - exp(x)) of x below 0, exact near 0 and far from it (Mächler 2012)."""
    logs = logs.clamp(max=-torch.finfo(logs.dtype).eps)
    near = logs > -0.6931471805599453
    return torch.where(near, (-torch.expm1(logs)).log(), torch.log1p(-logs.exp()))
