"""What models are asked, item by item."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bothways
from bothways.comparison.questions import Pairs
from bothways.comparison.yardsticks import PAIRS, PSEUDO, Items, minimal_pairs
from tests.inference.made import HYBRID, make_run


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


def test_items_of_one_name_are_summed() -> None:
    found = Items(np.array([1.0, 0, 0.5]), np.array([2.0, 1, 1]), ties=1).summed(["b", "a", "b"])
    assert found.value.tolist() == [0, 1.5] and found.weight.tolist() == [1, 3] and found.ties == 1
