"""Models that are kept on the way: those of the steps that were asked for, and the run is the same as without."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import bothways
from bothways.errors import UsageError
from bothways.sums import SUMS
from bothways.training.pretraining import pretrain
from tests.training.pretraining.small import assert_same_weights, configuration, run_until, tensors

pytestmark = pytest.mark.usefixtures("quick")

KEPT = "training.keep_at=[1, 1300, 2560]"  # a step reads 256 tokens


def sums(out: Path) -> dict[str, str]:
    """{step and face: the hashes of all that is read there}."""
    return {str(file.relative_to(out)): file.read_text() for file in sorted((out / "kept").rglob(SUMS))}


def test_a_kept_model_is_the_checkpoint_of_its_step_and_opens_as_a_run_does(shards: Path, tmp_path: Path) -> None:
    config = configuration(shards, tmp_path / "run", KEPT, "training.save_every=10")
    pretrain(config)
    assert sorted(place.name for place in (config.out / "kept").iterdir()) == ["step-1", "step-10", "step-5"]
    model = bothways.load(config.out / "kept" / "step-10", device="cpu")
    saved = tensors(config.out, step=10)
    assert all(torch.equal(weight, saved[f"weights/{name}"]) for name, weight in model.engine.model.named_parameters())
    assert model.fill(["a [MASK]"]) and model.score(["a b"]).shape == (1,)


def test_the_run_is_the_same_with_and_without_and_stopped(shards: Path, tmp_path: Path) -> None:
    plain, whole, parts = (configuration(shards, tmp_path / name) for name in ("plain", "whole/run", "parts/run"))
    whole, parts = (
        one.model_copy(update={"training": configuration(shards, one.out, KEPT).training}) for one in (whole, parts)
    )
    pretrain(plain)
    pretrain(whole)
    run_until(parts, 5)
    run_until(parts, 7, resume=True)
    pretrain(parts, resume=True)
    assert_same_weights(whole.out, plain.out)
    assert_same_weights(parts.out, plain.out)
    assert sums(parts.out) == sums(whole.out)


def test_a_prolonged_run_forgets_those_of_the_rate_that_fell(shards: Path, tmp_path: Path) -> None:
    config = configuration(shards, tmp_path / "run", KEPT, "training.schedule.decay=0.5")
    pretrain(config)
    before = sums(config.out)
    longer = configuration(shards, config.out, KEPT, "training.schedule.decay=0.5", "training.budget.steps=14")
    run_until(longer, 8, resume=True)  # from step 6 on
    assert {name for name in before if "step-10" not in name} == sums(config.out).keys()
    pretrain(longer, resume=True)
    assert sums(config.out).keys() == before.keys() and sums(config.out) != before


def test_a_count_of_no_tokens_is_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected numbers above 0"):
        configuration(shards, tmp_path / "run", "training.keep_at=[0]")


def test_one_beyond_the_end_is_refused(shards: Path, tmp_path: Path) -> None:
    config = configuration(shards, tmp_path / "run", "training.keep_at=[1, 5000]")
    with pytest.raises(UsageError, match=r"keep_at: 5000 tokens are more than the 3,072 that the run reads"):
        pretrain(config)
