"""What is minimised in fine-tuning, by the kind of answers.

Letters: N places, C labels, D width, E examples.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bothways.batch import Batch, Losses, Target
from bothways.inference.answering import answered
from bothways.inference.examples import GROUPED
from bothways.model import Answers, Model

SCALE = 20.0
"""What cosines are multiplied by before the softmax, as sentence-transformers does."""


def losses_of(model: Model, answers: Answers, *, smoothing: float) -> Callable[[Batch, torch.Generator], Losses]:
    """Cross-entropy of one label, or of a place or a choice among those of its group; the mean of binary ones where
    several labels may be right; squared error."""

    def losses(batch: Batch, generator: torch.Generator) -> Losses:
        (target,) = batch.targets
        logits = answered(model, batch).float()
        if answers.head == "vector":
            return {target.name: likeness_loss(logits, target, answers)}
        labels, weight = target.labels, target.weight
        assert isinstance(labels, Tensor) and isinstance(weight, Tensor)
        if answers.kind in GROUPED:
            assert isinstance(target.group, Tensor)
            surprise = -(log_softmax_in_groups(logits, target.group) * labels).mean(-1)
            count = weight.sum()  # a group weighs as one
            return {target.name: (surprise.sum(), count)}
        if answers.kind == "one":
            each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
        elif answers.kind == "several":
            each = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(-1)
        else:
            each = ((logits - labels) ** 2).mean(-1)
        return {target.name: ((each * weight).sum(), weight.sum())}

    return losses


def log_softmax_in_groups(logits: Tensor, group: Tensor) -> Tensor:
    """Every column of logits [N, C], less the logarithm of the sum over the group [N] that a place belongs to."""
    _, number = group.unique(return_inverse=True)
    shape = (int(number.max()) + 1, logits.shape[1])
    index = number[:, None].expand_as(logits)
    most = logits.new_full(shape, -torch.inf).scatter_reduce(0, index, logits.detach(), "amax")
    total = logits.new_zeros(shape).scatter_add(0, index, (logits - most[number]).exp())
    return logits - most[number] - total.log()[number]


def likeness_loss(vectors: Tensor, target: Target, answers: Answers) -> tuple[Tensor, Tensor]:
    """(sum, number of examples). Of pairs, the cross-entropy of a text's own among those of the whole batch (Henderson
    et al. 2017, section 4.4, with cosines); of scores, the squared error of the cosine.

    Args:
        vectors: [N, D] of all texts of the batch's examples, in any order; `target.group` [N] says whose they are.
    """
    labels, group = target.labels, target.group
    assert isinstance(labels, Tensor) and isinstance(group, Tensor)
    order = group.argsort(stable=True)
    labels, unit = labels[order], F.normalize(vectors[order].float(), dim=-1)
    text, own, negative = (
        unit[labels[:, 0] == number] for number in range(3)
    )  # [E, D], [E, D], one of those that have
    count = torch.tensor(float(len(text)), device=unit.device)
    if answers.kind == "likeness":
        return (((text * own).sum(-1) - labels[labels[:, 0] == 0, 1]) ** 2).sum(), count
    logits = SCALE * text @ torch.cat([own, negative]).T  # [E, E and the negatives]
    return F.cross_entropy(logits, torch.arange(len(text), device=unit.device), reduction="sum"), count
