"""The pieces of a micro-batch of pretraining are the whole: every loss and every gradient of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bothways.training.pretraining.setup import PretrainRun, set_up
from bothways.training.splitting import in_pieces
from tests.training.pretraining.small import configuration
from tests.training.small import ALONE

pytestmark = pytest.mark.usefixtures("quick")


def summed(run: PretrainRun, pieces: int) -> tuple[dict[str, tuple[float, float]], dict[str, torch.Tensor]]:
    """The losses of the first micro-batch, sum and weight of each, and the gradients of their sum."""
    found: dict[str, tuple[float, float]] = {}
    (batch, *_), weights = run.work.batches(0, 0.5), run.state.weights
    made = in_pieces(batch, pieces)
    assert len(made) == pieces
    for one in made:
        losses = run.work.losses(one, torch.Generator())
        torch.stack([loss for loss, _ in losses.values()]).sum().backward()
        weights.accumulate()
        for name, (loss, weight) in losses.items():
            before = found.get(name, (0.0, 0.0))
            found[name] = (before[0] + float(loss.detach()), before[1] + float(weight))
    weights.reduce()
    gradients = {name: weight.grad.clone() for name, weight in weights.master.items() if weight.grad is not None}
    weights.reset_gradients()
    return found, gradients


@pytest.mark.parametrize("objective", ["hybrid", "mlm", "unilm2", "seq2seq", "bang", "diffusion", "any-order", "mass"])
def test_the_pieces_of_a_batch_are_the_whole(objective: str, shards: Path, tmp_path: Path) -> None:
    settings = ["training.step_tokens=512", "training.micro_tokens=256"]
    settings += (
        ["model.decoder.layers=1", "model.shape=classic", "model.norm.epsilon=1e-5"] if objective == "seq2seq" else []
    )
    run = set_up(configuration(shards, tmp_path / "run", *settings, objective=objective), ALONE, resume=False)
    run.model.eval()
    (losses, gradients), (expected, whole) = summed(run, 4), summed(run, 1)
    assert losses.keys() == expected.keys()
    for name, (loss, weight) in expected.items():
        assert losses[name] == (pytest.approx(loss, rel=1e-6), pytest.approx(weight, rel=1e-6))
    largest = max(float(one.abs().max()) for one in whole.values())
    assert max(float((gradients[name] - one).abs().max()) for name, one in whole.items()) <= 1e-5 * largest
