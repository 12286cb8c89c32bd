"""Validation: means over targets, against a formula written out."""

from __future__ import annotations

import pytest
import torch

from bothways.batch import Batch, Losses
from bothways.model.losses import plain_loss
from bothways.objectives import build
from bothways.training import evaluate
from bothways.training.evaluate import evaluate_losses, evaluate_words
from tests.training.small import VOCABULARY, batches, small_model


@pytest.mark.parametrize("each", [1, 3, 7])
def test_scores_are_means_over_targets(each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows stand in a batch, and however few logits are made at once."""
    monkeypatch.setattr(evaluate, "CHUNK", 5)
    model, built = small_model(layers=2), build("hybrid", VOCABULARY)
    found = evaluate_words(model, batches(built, rows=7, each=each))
    nats: dict[str, list[float]] = {}
    right: dict[str, list[bool]] = {}
    for batch in batches(built, rows=7, each=1):
        logits = model(batch)[0].detach().double()
        for target in batch.targets:
            for at, label in zip(target.at.tolist(), target.labels.tolist(), strict=True):
                nats.setdefault(target.name, []).append(-float(torch.log_softmax(logits[at], -1)[label]))
                right.setdefault(target.name, []).append(int(logits[at].argmax()) == label)
    assert found.keys() == nats.keys() == {"causal", "mlm"}
    for name, score in found.items():
        assert score.nats == pytest.approx(sum(nats[name]) / len(nats[name]), rel=1e-5)
        assert score.accuracy == pytest.approx(sum(right[name]) / len(right[name]))


def test_own_losses_are_weighted_means() -> None:
    model, built = small_model(), build("hybrid", VOCABULARY)

    @torch.no_grad()
    def losses(batch: Batch) -> Losses:
        return plain_loss(model, batch)

    (whole,) = batches(built, rows=6, each=6)
    sums = losses(whole)
    found, parts = evaluate_losses(losses, batches(built, rows=6, each=2))
    assert parts == pytest.approx({name: float(total / count) for name, (total, count) in sums.items()}, rel=1e-5)
    totals, counts = zip(*sums.values(), strict=True)
    assert found == pytest.approx(float(sum(totals) / sum(counts)), rel=1e-5)  # what a step would minimise


def test_nothing_is_left_behind() -> None:
    model, built = small_model(), build("causal", VOCABULARY)
    evaluate_words(model, batches(built, rows=2, each=1))
    assert all(parameter.grad is None for parameter in model.parameters())
