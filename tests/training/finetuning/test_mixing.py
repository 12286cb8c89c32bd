"""Which examples a step of several tasks reads: by size to a power, each before it comes again, from seed and step."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bothways.training.finetuning.mixing import Mixing


def test_shares_are_of_size_to_a_power_times_weight() -> None:
    sizes = (1000, 10)
    for exponent, expected in ((1.0, 1000 / 1010), (0.0, 0.5), (0.75, 1000**0.75 / (1000**0.75 + 10**0.75))):
        assert Mixing(sizes, (1.0, 1.0), exponent, 8, 0).shares[0] == pytest.approx(expected)
    assert Mixing(sizes, (1.0, 3.0), 0.0, 8, 0).shares.tolist() == [0.25, 0.75]


def test_rows_are_drawn_by_these_shares() -> None:
    mixing = Mixing((3000, 300), (1.0, 1.0), 0.75, 10, 7)
    drawn = Counter(task for step in range(mixing.steps) for task, *_ in mixing.of_step(step))
    assert mixing.steps == 330 and sum(drawn.values()) == 3300
    assert drawn[1] / 3300 == pytest.approx(mixing.shares[1], abs=0.03)


def test_every_example_comes_before_one_comes_again_across_epochs() -> None:
    mixing = Mixing((30, 7), (1.0, 1.0), 0.5, 4, 1)
    read: dict[int, list[int]] = {0: [], 1: []}
    for step in range(4 * mixing.steps):
        for task, example, turn in mixing.of_step(step):
            assert turn == len(read[task]) // mixing.sizes[task]
            read[task].append(example)
    for task, size in enumerate(mixing.sizes):
        turns = [read[task][begin : begin + size] for begin in range(0, len(read[task]), size)]
        assert all(sorted(turn) == list(range(size)) for turn in turns[:-1]) and len(turns) > 2
        assert len({*turns[-1]}) == len(turns[-1])
        assert turns[0] != turns[1]


def test_a_step_is_the_same_whoever_asks_first() -> None:
    one, other = (Mixing((50, 20, 5), (1.0, 2.0, 1.0), 0.75, 8, 3) for _ in range(2))
    forwards = [one.of_step(step) for step in range(3 * one.steps)]
    backwards = [other.of_step(step) for step in reversed(range(3 * one.steps))]
    assert forwards == backwards[::-1]
    assert [*map(len, forwards[: one.steps])] == [8] * 9 + [3]
    assert forwards != [Mixing((50, 20, 5), (1.0, 2.0, 1.0), 0.75, 8, 4).of_step(s) for s in range(3 * one.steps)]
    assert np.unique([task for some in forwards for task, *_ in some]).tolist() == [0, 1, 2]
