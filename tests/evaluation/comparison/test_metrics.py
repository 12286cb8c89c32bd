"""What models are asked, item by item."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import bothways
from bothways.evaluation.comparison.eval_data import Pairs
from bothways.evaluation.comparison.metrics import BITS, PAIRS, PSEUDO, ScoredItems, held_out, minimal_pairs
from bothways.model import Model, ModelConfig
from bothways.objectives import build
from tests.inference.made import HYBRID, make_run
from tests.objectives.rows import FIRST_TEXT, VOCABULARY, packed


@pytest.mark.parametrize(("paradigms", "items"), [(12, 12), (2, 2), (1, 36)])
def test_an_item_of_minimal_pairs_is_a_paradigm_where_there_are_several(
    paradigms: int, items: int, tmp_path: Path
) -> None:
    loaded = bothways.load(make_run(tmp_path / "run", HYBRID), device="cpu")
    words = np.array("the quick fox jumps over the lazy dog".split())
    good, bad = ([" ".join(np.random.default_rng((i, s)).permutation(words)) for i in range(36)] for s in range(2))
    names = [f"p{i % paradigms}" for i in range(36)]
    found = dict(minimal_pairs(loaded, Pairs(good, [*bad[:35], good[35]], names)))
    right = (loaded.score(good) > loaded.score(bad)).astype(float)
    right[35] = 0.5  # the same sentence twice
    assert set(found) == {PAIRS, PSEUDO} and found[PAIRS].ties == 1
    assert found[PAIRS].figure == pytest.approx(right.mean())
    assert len(found[PAIRS].value) == items and found[PAIRS].weight.sum() == 36


@pytest.mark.parametrize(
    "expression", ["causal", "diffusion", "block-diffusion(size=4)", "any-order", "1/2 causal + 1/2 mlm"]
)
def test_a_model_that_knows_nothing_costs_the_logarithm_of_the_vocabulary_a_token(expression: str) -> None:
    """Of all tokens behind a [CLS], a [SEP] and an [UNK] too, over the same bytes: whoever is asked, bound or not."""
    row = packed([9, 4, 6], padding=3, cut=True)
    row = replace(row, tokens=np.where(row.tokens == FIRST_TEXT + 2, VOCABULARY.unk, row.tokens))
    rows = [row, packed([17])]
    config = ModelConfig(vocabulary=VOCABULARY.size, layers=1, width=16, heads=2, inner=32, length=32)
    model = Model(config).eval()
    with torch.no_grad():
        model.table.zero_()
    engine = SimpleNamespace(model=model, device=torch.device("cpu"))
    stream = SimpleNamespace(bytes_a_prediction=2500 / 900)
    shards = SimpleNamespace(validation=stream, vocabulary=VOCABULARY)
    found: Any = dict(held_out(SimpleNamespace(engine=engine), build(expression, VOCABULARY), shards, rows))
    said = np.array([9 + 1 + 4 + 1 + 6, 17 + 1])  # the last [SEP] of the first row is cut off
    assert found[BITS].value == pytest.approx(said * np.log2(VOCABULARY.size), rel=1e-5)
    assert found[BITS].weight == pytest.approx(said * 2500 / 900)


def test_items_of_one_name_are_summed() -> None:
    found = ScoredItems(np.array([1.0, 0, 0.5]), np.array([2.0, 1, 1]), ties=1).summed(["b", "a", "b"])
    assert found.value.tolist() == [0, 1.5] and found.weight.tolist() == [1, 3] and found.ties == 1
