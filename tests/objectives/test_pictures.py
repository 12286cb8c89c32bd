"""Every corruption, arrangement, prediction and objective does what the picture in its docstring shows."""

from __future__ import annotations

from inspect import isfunction

import numpy as np
import pytest

from bothways.batch import Target
from bothways.objectives import OBJECTIVES
from bothways.objectives.arrangements import left_to_right, right_to_left, side_by_side, source_then_target, together
from bothways.objectives.codebert import AnyToken, Replace
from bothways.objectives.corruptions import Mask, nothing, split
from bothways.objectives.objective import Corrupted
from bothways.objectives.pairs import BothSides
from bothways.objectives.predictions import from_before, from_behind, in_place
from bothways.visibility import Layout, ordered
from tests.objectives.rows import SIX, VOCABULARY, Picture, pictures

DRAWS = range(2000)
PICTURED: dict[str, dict[str, float]] = {  # arguments, where six words are too few for the defaults
    "block-diffusion": {"size": 3},
    "unilm2": {"rate": 0.5},
    "mass": {"rate": 1 / 3},
    "any-order": {"share": 1 / 3},
    "bang": {"streams": 2},
}
REPLACE = Replace(Mask(VOCABULARY), AnyToken(SIX.tokens))


def corrupted_as(picture: Picture) -> Corrupted:
    part = picture.numbers("part") if "part" in picture.rows else np.zeros(6, dtype=np.int32)
    chosen = picture.numbers("chosen") > 0 if "chosen" in picture.rows else np.zeros(6, dtype=bool)
    return Corrupted(picture.row, picture.row.tokens, chosen, part)


@pytest.mark.parametrize("arrange", [together, left_to_right, right_to_left, source_then_target, side_by_side])
def test_arrangements(arrange) -> None:
    (picture,) = pictures(arrange)
    layout = arrange(corrupted_as(picture))
    assert np.array_equal(layout.step, picture.numbers("step"))
    assert np.array_equal(layout.group, picture.numbers("group"))
    assert np.array_equal(layout.position, picture.numbers("position") if "position" in picture.rows else range(6))
    assert np.array_equal(ordered.matrix(layout), picture.sees)


@pytest.mark.parametrize("predict", [in_place, from_before, from_behind])
def test_predictions(predict) -> None:
    (picture,) = pictures(predict)
    layout = Layout.of(document=SIX.document, step=[0] * 6)
    (target,) = predict(corrupted_as(picture), layout)
    assert target.head == "words"
    assert np.array_equal(said((target,), 6), picture.tokens("predicts"))


def said(targets: tuple[Target, ...], length: int) -> np.ndarray:
    """The word said in each place, by whichever target; -1: none."""
    says = np.full(length, -1)
    for target in targets:
        if target.head == "words":
            says[target.at] = target.labels
    return says


@pytest.mark.parametrize(
    "corrupt", [nothing, split, Mask(VOCABULARY, rate=1 / 3), BothSides(Mask(VOCABULARY)), REPLACE]
)
def test_corruptions(corrupt) -> None:
    """The randomness that gives the picture's row is looked for, so that the picture may show a telling one."""
    (picture,) = pictures(corrupt if isfunction(corrupt) else type(corrupt))
    for seed in DRAWS:
        corrupted = corrupt(picture.row, np.random.default_rng(seed), 0.0)
        same = np.array_equal(corrupted.tokens, picture.tokens("reads"))
        chosen = (
            corrupted.chosen & (corrupted.tokens != corrupted.row.tokens) if corrupt is REPLACE else corrupted.chosen
        )
        if same and np.array_equal(chosen, picture.numbers("chosen")):
            break
    else:
        pytest.fail("the picture is never drawn")
    if "part" in picture.rows:
        assert np.array_equal(corrupted.part, picture.numbers("part"))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives(name: str) -> None:
    function = OBJECTIVES[name]
    objective = function(VOCABULARY, **PICTURED.get(name, {}))
    found = pictures(function)
    assert found
    for picture in found:
        drawn = [objective.sample(picture.row, np.random.default_rng(seed), 0.0) for seed in DRAWS]
        matching = [
            sample
            for sample in drawn
            if np.array_equal(sample.tokens, picture.tokens("reads"))
            and np.array_equal(sample.layout.step, picture.numbers("step"))
            and ("position" not in picture.rows or np.array_equal(sample.layout.position, picture.numbers("position")))
            and np.array_equal(said(sample.targets, len(sample.tokens)), picture.tokens("predicts"))
            and ("group" not in picture.rows or np.array_equal(sample.layout.group, picture.numbers("group")))
        ]
        assert matching, f"never drawn: {picture.rows}"
        assert np.array_equal(objective.rule.matrix(matching[0].layout), picture.sees)
