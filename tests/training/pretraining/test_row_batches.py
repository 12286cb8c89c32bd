"""Which rows a step reads: the same whatever the number of processes, each once an epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bothways.batch import Batch, Target
from bothways.corpus import Rows, Shards
from bothways.errors import DataError
from bothways.objectives import Objective, build
from bothways.training.config import TrainingConfig
from bothways.training.evaluate import bits_per_byte, evaluate_losses, evaluate_words
from bothways.training.pretraining import run
from bothways.training.pretraining.batches import (
    TrainingBatches,
    _of_few_lengths,
    probes,
    validation_batches,
    validation_rows,
)
from bothways.training.pretraining.run import _validate
from bothways.training.pretraining.setup import set_up
from bothways.training.processes import processes as team_of
from tests.training.pretraining.small import configuration

CONFIG = TrainingConfig.model_validate(
    {"budget": {"steps": 1}, "length": 32, "step_tokens": 8 * 32, "micro_tokens": 2 * 32, "validation_rows": 5}
)


def opened(shards: Path, objective: str = "hybrid") -> tuple[Shards, Objective, Rows]:
    found = Shards.open(shards)
    rows = Rows(found.train, found.vocabulary, length=32, seed=0)
    return found, build(objective, found.vocabulary), rows


def same(left: Batch, right: Batch) -> bool:
    return torch.equal(left.tokens, right.tokens) and str(left) == str(right)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_out_the_very_batches_of_one(processes: int, shards: Path) -> None:
    """Batch j of a step falls to process j % processes: tokens, masking, targets and all."""
    _, objective, rows = opened(shards)
    for first in (0, 24, 400):
        alone = TrainingBatches(rows, objective, CONFIG)(first, 0.5)
        shared = [TrainingBatches(rows, objective, CONFIG, rank, processes)(first, 0.5) for rank in range(processes)]
        assert [len(mine) for mine in shared] == [4 // processes] * processes
        for j, batch in enumerate(alone):
            assert same(shared[j % processes][j // processes], batch)


def test_targets_come_in_few_lengths(shards: Path) -> None:
    """What fills them up weighs nothing: the sums are those of the samples."""
    _, objective, rows = opened(shards)
    made = TrainingBatches(rows, objective, CONFIG.model_copy(update={"micro_tokens": 8 * 32}))
    for step in range(20):
        (batch,) = made(step, 0.0)
        for target in batch.targets:
            assert len(target.at) % 32 == 0
            real = target.weight > 0
            count = int(real.sum())
            assert bool(real[:count].all()) and len(target.at) - count < 32
            assert bool((target.at[count:] == target.at[count - 1]).all())
            assert bool((target.labels[count:] == target.labels[count - 1]).all())


def test_labels_of_several_numbers_are_repeated_whole_and_groups_are_left_alone(shards: Path) -> None:
    """What an objective of one's own may have: soft labels [N, C], spans [N, K], targets that are weighed together."""
    _, objective, rows = opened(shards)
    row = TrainingBatches(rows, objective, CONFIG)(0, 0.0)[0]
    soft = Target("words", torch.arange(3), torch.rand(3, 5), torch.ones(3), "soft")
    spans = Target("words", torch.arange(6).reshape(3, 2), torch.arange(3), torch.ones(3), "spans")
    grouped = Target("words", torch.arange(3), torch.arange(3), torch.ones(3), "grouped", torch.arange(3))
    found = _of_few_lengths(replace(row, targets=(soft, spans, grouped))).targets
    assert [tuple(one.labels.shape) for one in found] == [(32, 5), (32,), (3,)]
    assert [tuple(one.at.shape) for one in found] == [(32,), (32, 2), (3,)]
    assert [float(one.weight.sum()) for one in found] == [3.0] * 3


def test_each_row_once_an_epoch(little: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row numbers as they are asked for, over two processes and three epochs."""
    _, objective, rows = opened(little, "causal")
    asked: list[int] = []

    class Watched(Rows):
        def __getitem__(self, index: int):  # type: ignore[no-untyped-def]
            asked.append(index)
            return rows[index]

    watched = Watched.__new__(Watched)
    watched.__dict__ = rows.__dict__
    steps = -(-3 * len(rows) // 8)
    for step in range(steps):
        for rank in (1, 0):
            TrainingBatches(watched, objective, CONFIG, rank, 2)(8 * step, 0.0)
    assert sorted(asked) == list(range(steps * 8))
    for epoch in range(3):
        keys = [rows.key(index) for index in range(epoch * len(rows), (epoch + 1) * len(rows))]
        assert sorted(keys) == [(0, epoch, row) for row in range(len(rows))]


def test_a_step_is_a_function_of_its_first_row(shards: Path) -> None:
    """Asked for in any order, and again."""
    _, objective, rows = opened(shards)
    made = TrainingBatches(rows, objective, CONFIG)
    first = [made(step, 0.0) for step in (5, 2, 9)]
    np.random.seed(3)  # noqa: NPY002 (nothing reads it)
    again = [made(step, 0.0) for step in (2, 9, 5)]
    for left, right in zip((first[1], first[2], first[0]), again, strict=True):
        assert all(same(a, b) for a, b in zip(left, right, strict=True))


def test_validation_is_the_same_every_time_and_spread_evenly(shards: Path) -> None:
    found, objective, _ = opened(shards)
    rows = validation_rows(found, CONFIG)
    every = Rows(found.validation, found.vocabulary, length=32, seed=None)
    assert len(rows) == 5 < len(every)
    chosen = [i * len(every) // 5 for i in range(5)]
    assert all(np.array_equal(row.tokens, every[i].tokens) for row, i in zip(rows, chosen, strict=True))
    one, two = (validation_batches(objective, rows, CONFIG) for _ in range(2))
    assert all(same(a, b) for a, b in zip(one, two, strict=True))
    assert sum(len(batch.tokens) for batch in one) == 5


def test_more_rows_than_there_are(little: Path) -> None:
    found, _, _ = opened(little)
    every = Rows(found.validation, found.vocabulary, length=32, seed=None)
    asked = CONFIG.model_copy(update={"validation_rows": 10**6})
    assert len(validation_rows(found, asked)) == len(every)


def test_a_split_that_is_too_small(little: Path) -> None:
    found, _, _ = opened(little)
    with pytest.raises(DataError, match="validation split"):
        validation_rows(found, CONFIG.model_copy(update={"length": 10**5}))


@pytest.mark.parametrize(
    ("objective", "names"), [("causal", ["next"]), ("mlm", ["fill"]), ("hybrid", ["fill", "next"]), ("reversed", [])]
)
def test_probes_ask_what_the_faces_can_answer(objective: str, names: list[str], shards: Path) -> None:
    found, built, _ = opened(shards, objective)
    asked = probes(built, found, validation_rows(found, CONFIG), CONFIG)
    assert sorted(asked) == names
    for name, batches in asked.items():
        targets = sum(len(target.at) for batch in batches for target in batch.targets)
        tokens = sum(batch.token_count for batch in batches)
        assert targets / tokens == pytest.approx({"next": 0.95, "fill": 0.14}[name], abs=0.05)


def test_bits_a_byte(shards: Path) -> None:
    """Every token but [CLS] is predicted: n nats a token over the text are so many bits over its bytes."""
    stream = Shards.open(shards).validation
    said = stream.token_count - stream.documents
    assert bits_per_byte(1.0, stream.bytes_a_prediction) == pytest.approx(said * np.log2(np.e) / stream.bytes)


@pytest.mark.parametrize("objective", ["diffusion", "1/2 mlm + 1/2 diffusion"])
def test_a_bound_is_validated_by_its_weights(objective: str, shards: Path, tmp_path: Path) -> None:
    """In a mixture too: without them, rows with many hidden tokens would count more than others."""
    with team_of() as team:
        run = set_up(configuration(shards, tmp_path / "run", objective=objective), team, resume=False)
    lines: list[dict[str, Any]] = []
    _validate(run, SimpleNamespace(tell=lines.append))
    _, expected = evaluate_losses(lambda batch: run.work.losses(batch, torch.Generator()), run.validation)
    assert lines[0]["losses"] == pytest.approx(expected, rel=1e-6)


def test_causal_is_its_own_probe_and_is_measured_once(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(run, "evaluate_words", lambda model, batches: asked.append(1) or evaluate_words(model, batches))
    lines: list[dict[str, Any]] = []
    with team_of(device="cpu") as team:
        made = set_up(configuration(shards, tmp_path / "run", objective="causal"), team, resume=False)
        _validate(made, SimpleNamespace(tell=lines.append))  # type: ignore[arg-type]
    assert len(asked) == 1 and made.probes["next"] is made.validation
    rows = validation_rows(made.shards, made.config.training)
    own = evaluate_words(made.model, validation_batches(made.objective, rows, made.config.training))["causal"]
    assert lines[0]["losses"] == {"causal": own.nats} and lines[0]["next_accuracy"] == own.accuracy
