"""Contextuality: the measures against their plain formulas, and on states that are known."""

from __future__ import annotations

import numpy as np
import pytest

from bothways.evaluation.inspection.measures import explained, mean_cosines, measured, to_the_mean
from bothways.word_vectors.store import unit_vectors


def random_states(count: int = 4000, width: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def occurrences(count: int = 4000, words: int = 100) -> tuple[np.ndarray, np.ndarray]:
    place = np.arange(count)
    return place % words, place // 8


def test_mean_cosines_are_those_of_all_unique_pairs() -> None:
    states, group = random_states(40, 8) + 1, np.random.default_rng(1).permutation(np.arange(40) % 5)
    unit = unit_vectors(states)
    for number, found in enumerate(mean_cosines(unit, group)):
        some = unit[group == number]
        pairs = [float(a @ b) for i, a in enumerate(some) for b in some[i + 1 :]]
        assert found == pytest.approx(np.mean(pairs), abs=1e-6)


def test_a_word_to_the_mean_of_its_text() -> None:
    states, group = random_states(30, 8), np.arange(30) // 6
    for number, found in enumerate(to_the_mean(states, unit_vectors(states), group)):
        some = states[group == number]
        middle = some.mean(0)
        cosines = some @ middle / np.linalg.norm(some, axis=1) / np.linalg.norm(middle)
        assert found == pytest.approx(cosines.mean(), abs=1e-6)


@pytest.mark.parametrize("width", [3, 64])
def test_what_one_vector_explains_by_singular_values(width: int) -> None:
    states, group = random_states(60, width) + 0.5, np.arange(60) // 20
    squares = [np.linalg.svd(states[group == number], compute_uv=False) ** 2 for number in range(3)]
    assert explained(states, group) == pytest.approx(np.mean([s[0] / s.sum() for s in squares]), rel=1e-5)


def test_noise_without_direction_is_near_zero() -> None:
    found = measured(random_states(), *occurrences())
    assert abs(found.self_similarity.mean()) < 0.005 and abs(found.anisotropy) < 0.005
    assert found.figures()["explained_adjusted"] == pytest.approx(0, abs=0.005)
    assert found.explained == pytest.approx(
        found.explained_random, abs=0.005
    )  # what chance explains of 40 in 64 places


def test_a_static_table_is_one() -> None:
    at = occurrences()
    found = measured(random_states(100)[at[0]], *at)
    assert found.self_similarity == pytest.approx(1, abs=1e-6) and found.explained == pytest.approx(1, abs=1e-6)
    assert found.figures()["self_similarity_adjusted"] > 0.95


def test_a_constant_is_removed_by_the_baseline() -> None:
    at = occurrences()
    same = measured(np.ones((4000, 64), dtype=np.float32) * 3, *at).figures()
    assert same["self_similarity"] == pytest.approx(1)
    for key in ("self_similarity", "intra_sentence", "explained"):
        assert same[f"{key}_adjusted"] == pytest.approx(0, abs=1e-6)
    shifted = measured(random_states() + 20, *at).figures()
    assert shifted["self_similarity"] > 0.99
    assert shifted["self_similarity_adjusted"] == pytest.approx(0, abs=1e-3)
    assert shifted["explained_adjusted"] == pytest.approx(0, abs=1e-3)


def test_rare_words_are_neighbours_only() -> None:
    states, at = random_states(), occurrences()
    rare = np.where(at[0] < 50, at[0], -1), at[1]
    found, whole = measured(states, *rare), measured(states, *at)
    assert len(found.self_similarity) == 50 and found.intra == whole.intra
    assert found.self_similarity == pytest.approx(whole.self_similarity[:50])
