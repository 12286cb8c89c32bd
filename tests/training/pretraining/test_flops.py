"""What a run computes, counted: by phase, and with the words that are said."""

from __future__ import annotations

from pathlib import Path

import pytest

from bothways.corpus import Rows, Shards
from bothways.model import preset
from bothways.objectives import build
from bothways.training.config import TrainingConfig
from bothways.training.pretraining.batches import TrainingBatches
from bothways.training.pretraining.flops import Cost, cost_of

CONFIG = TrainingConfig.model_validate({"budget": {"steps": 1}, "length": 32, "step_tokens": 256, "micro_tokens": 64})


def counted(shards: Path, expression: str) -> Cost:
    """FLOPs of steps of 256 tokens."""
    found = Shards.open(shards)
    rows = Rows(found.train, found.vocabulary, length=32, seed=0)
    batches = TrainingBatches(rows, build(expression, found.vocabulary), CONFIG)
    return cost_of(batches, preset("tiny", vocabulary=found.vocabulary.size, length=32))


def test_a_token_costs_its_body_and_its_share_of_the_head(shards: Path) -> None:
    vocabulary = Shards.open(shards).vocabulary.size
    shape = preset("tiny", vocabulary=vocabulary, length=32)
    body = shape.flops_per_token(length=32, predicted=0.0)
    head = 3 * 2 * shape.width * vocabulary
    causal, mlm = (counted(shards, name).upto(1.0) / 256 for name in ("causal", "mlm"))
    assert (causal - body) / head == pytest.approx(0.94, abs=0.03)
    assert (mlm - body) / head == pytest.approx(0.14, abs=0.02)


def test_a_schedule_costs_what_its_phases_cost(shards: Path) -> None:
    causal, mlm, both = (counted(shards, text) for text in ("causal", "mlm", "1/4 causal -> 3/4 mlm"))
    assert both.at(0.0) == both.at(0.2) == causal.at(0.0)
    assert both.at(0.25) == both.at(1.0) == mlm.at(0.0)
    assert both.upto(1.0) == pytest.approx(causal.at(0.0) / 4 + mlm.at(0.0) * 3 / 4)
    assert both.upto(0.5) == pytest.approx(causal.at(0.0) / 4 + mlm.at(0.0) / 4)
    assert both.upto(0.0) == 0.0
