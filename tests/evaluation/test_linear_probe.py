"""A linear probe finds what is there, with as many folds as its labels have examples."""

from __future__ import annotations

import numpy as np
import pytest

from bothways.evaluation.linear_probe import linear_probe


@pytest.mark.parametrize("each", [1, 2, 4, 9])
def test_labels_of_few_examples(each: int) -> None:
    """Twelve labels, each at its own place; five folds want five examples of one label at least."""
    labels = np.repeat(np.arange(12).astype(str), each)
    places = np.eye(12, dtype=np.float32)[labels.astype(int)]
    noise = np.random.default_rng(0).normal(0, 0.05, (2, *places.shape)).astype(np.float32)
    found = linear_probe((places + noise[0], places + noise[1]), (labels, labels), strengths=[0.01, 1.0, 100.0])
    assert found.mean() > 0.9
