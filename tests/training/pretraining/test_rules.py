"""An objective with a rule of visibility of its own: trained, measured, saved and asked under that rule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import bothways
from bothways.corpus import Shards
from bothways.errors import UsageError
from bothways.evaluation.comparison.metrics import BITS, held_out
from bothways.objectives import OBJECTIVES, build
from bothways.training.pretraining import PretrainConfig, pretrain, setup
from bothways.training.pretraining.batches import validation_rows
from bothways.training.run_folder import RunFolder
from tests.training.pretraining.small import configuration

MINE = """
from dataclasses import replace
from bothways.objectives import causal, register
from bothways.visibility import Visibility, ordered, within

@register
def near(vocabulary):
    return replace(causal(vocabulary), name="near", rule=ordered & within(2))

@register
def nameless(vocabulary):
    return replace(causal(vocabulary), name="nameless", rule=Visibility(lambda q, k: q.step > k.step, "mine"))
"""


@pytest.fixture
def configured(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PretrainConfig]:
    monkeypatch.setattr(setup, "gemm_peak", lambda *_, **__: 1e11)
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    found = configuration(shards, tmp_path / "run", "training.budget.steps=4", objective="near")
    before = dict(OBJECTIVES)
    yield found.model_copy(update={"code": (tmp_path / "mine.py",)})
    OBJECTIVES.clear()
    OBJECTIVES.update(before)


def test_the_rule_goes_with_the_model(configured: PretrainConfig) -> None:
    run = pretrain(configured)
    assert (run / "body").is_dir() and not (run / "decoder").exists()
    loaded, shards = bothways.load(run, device="cpu"), Shards.open(configured.shards)
    assert loaded.engine.model.rule.name == "(ordered & within(2))"
    rows = validation_rows(shards, configured.training)
    trained = [line for line in RunFolder(run).lines() if line["kind"] == "validation"][-1]
    found = dict(held_out(loaded, build("near", shards.vocabulary), shards, rows))[BITS].figure
    assert found == pytest.approx(trained["bits_per_byte"]["causal"], rel=1e-5)


def test_a_rule_that_could_not_be_read_back_is_refused_before_anything_is_trained(configured: PretrainConfig) -> None:
    with pytest.raises(UsageError, match="expected a rule of visibility made of ordered, .*, got 'mine'"):
        pretrain(configured.model_copy(update={"objective": "nameless"}))
    assert not configured.out.exists()
