"""The plain loss: cross-entropy where something is predicted, summed by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bothways.batch import Batch, Sample, Target
from bothways.errors import UsageError
from bothways.model import Model
from bothways.model.heads.head import Head, Loss, columns
from bothways.model.losses import plain_loss
from bothways.visibility import Layout, ordered
from tests.model.small import SHAPES, model_of


def batch(*targets: Target, rows: int = 2) -> Batch:
    layout = Layout.of(document=np.zeros(6), step=np.arange(6))
    return Batch.stack([Sample(np.arange(5, 11) + row, layout, targets) for row in range(rows)])


@pytest.mark.parametrize("shape", SHAPES)
def test_plain_loss_is_the_weighted_cross_entropy_at_the_targets(shape: str) -> None:
    model = model_of(SHAPES[shape])
    made = batch(
        Target("words", np.array([1, 4]), np.array([9, 30]), np.array([1.0, 2.5]), "hidden"),
        Target("words", np.array([0]), np.array([7]), name="next"),
    )
    losses = plain_loss(model, made)
    logits = model(made).double()
    assert losses.keys() == {"hidden", "next"}
    for name, at, labels, weights in (
        ("hidden", [1, 4, 7, 10], [9, 30, 9, 30], [1.0, 2.5, 1.0, 2.5]),
        ("next", [0, 6], [7, 7], [1.0, 1.0]),
    ):
        loss, count = losses[name]
        each = F.cross_entropy(logits.flatten(0, 1)[at], torch.tensor(labels), reduction="none")
        assert count.item() == sum(weights)
        assert loss.item() == pytest.approx((each * torch.tensor(weights)).sum().item(), rel=1e-5)


def test_a_batch_can_be_moved_to_another_device() -> None:
    """On "meta", which computes shapes only: whatever touches numbers, or forgets the device, fails."""
    made = batch(Target("words", np.array([1, 4]), np.array([9, 30]))).to("meta")
    loss, count = plain_loss(model_of(SHAPES["modern"]).to("meta"), made)["loss"]
    assert loss.device.type == count.device.type == "meta"


def test_a_rule_of_its_own_is_used() -> None:
    made = batch(Target("words", np.array([0]), np.array([7])))
    model = model_of(SHAPES["modern"])
    loss, _ = plain_loss(model, made)["loss"]
    model.rule = ordered | ~ordered
    other, _ = plain_loss(model, made)["loss"]
    assert loss.item() != pytest.approx(other.item(), rel=1e-4)


class Half(torch.nn.Module, Head):
    """A head whose loss is half the state's sum."""

    def logits(self, hidden: torch.Tensor, target: Target) -> torch.Tensor:
        return hidden.sum(-1)

    def loss(self, logits: torch.Tensor, target: Target) -> Loss:
        _, weight = columns(target)
        return (logits / 2 * weight).sum(), weight.sum()


def test_a_named_head_is_asked() -> None:
    model = Model(SHAPES["modern"], heads={"halves": lambda config: Half()})
    made = batch(Target("halves", np.array([2]), np.array([0])), rows=1)
    loss, count = plain_loss(model, made)["loss"]
    assert count.item() == 1 and loss.item() == pytest.approx(model.states(made)[0, 2].sum().item() / 2)


def test_an_unknown_head_is_named() -> None:
    with pytest.raises(UsageError, match=r"asks for the head 'tags'; the model has words"):
        plain_loss(model_of(SHAPES["modern"]), batch(Target("tags", np.array([0]), np.array([0]))))
