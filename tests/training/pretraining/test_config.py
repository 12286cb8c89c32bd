"""Configuration: what is read, and that whatever is wrong is said with the key's whole path, never otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from bothways.config import dump, load_config, read, with_settings
from bothways.errors import UsageError
from bothways.training.config import TrainingConfig, read_budget
from bothways.training.pretraining import PretrainConfig

MINIMAL: dict[str, Any] = {"shards": "s", "out": "o", "training": {"budget": {"steps": 5}}}
WHOLE: dict[str, Any] = read(PretrainConfig, MINIMAL).model_dump(mode="json")


def test_yaml_and_back() -> None:
    config = read(PretrainConfig, with_settings(MINIMAL, ["model.layers=2", "training.optimiser.name=lamb"]))
    assert read(PretrainConfig, yaml.safe_load(dump(config))) == config


def _paths(values: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _paths(value, (*above, key))


PATHS = sorted(path for path in _paths(WHOLE) if path[0] != "model")
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**20),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    st.dates(),
    st.binary(max_size=3),
)


def place(values: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path[:-1]:
        values = values[key]
    return values


@limits(max_examples=1000)
@given(path=st.sampled_from(PATHS), value=odd, how=st.sampled_from(["set", "rename", "delete", "add"]), key=st.text())
def test_a_thousand_mutations(path: tuple[str, ...], value: Any, how: str, key: str) -> None:
    """A configuration that is not taken is refused with a UsageError that names the path of what is wrong."""
    values = deepcopy(WHOLE)
    inner = place(values, path)
    if how == "set":
        inner[path[-1]] = value
    elif how == "rename":
        inner[key] = inner.pop(path[-1])
    elif how == "add":
        inner[key] = value
    else:
        del inner[path[-1]]
    try:
        config = read(PretrainConfig, values)
        config.model_config_for(1000)
        config.training.check_split(1)
    except UsageError as error:
        said = str(error)
        named = [".".join((*path[:-1], name)) for name in (path[-1], key)]
        above = [".".join(path[:length]) for length in range(1, len(path))]
        assert any(name in said for name in (*named, *above, "step_tokens", repr(key), "unknown size")), said


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.buget.steps=3", r"unknown configuration key 'training\.buget'.* Did you mean 'training\.budget'"),
        ("training.optimiser.nmae=lamb", r"'training\.optimiser\.nmae'.* Did you mean 'training\.optimiser\.name'"),
        ("objectiv=causal", r"Did you mean 'objective'"),
        ("training.seed=many", r"training\.seed: .*integer.*'many'"),
        ("training.optimiser.name=sgd", r"training\.optimiser\.name: .*'adamw'.*'muon'.*got 'sgd'"),
        ("training.length=2", r"training\.length: .*greater than or equal to 8.*got 2"),
        ("training.budget.steps=0", r"training\.budget\.steps: .*got 0"),
        ("training.optimiser.learning_rate=-1", r"training\.optimiser\.learning_rate: .*greater than 0"),
        ("training.optimiser.betas=[0.9]", r"training\.optimiser\.betas"),
        ("model.layer=2", r"'model\.layer'.*Did you mean 'model\.layers'"),
        ("model.width=33", r"model: width must be a multiple of heads"),
        ("size=huge", r"unknown size 'huge'.*Known: LAYERS-LAYERSxWIDTH, LAYERSxWIDTH, base, mini, small, tiny"),
    ],
)
def test_what_is_wrong_is_named(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(PretrainConfig, with_settings(MINIMAL, [setting])).model_config_for(1000)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("a=1", {"a": 1}),
        ("a.b.c=x", {"a": {"b": {"c": "x"}}}),
        ("a=5e13", {"a": 5e13}),
        ("a=1e-3", {"a": 1e-3}),
        ("a=[1, 2]", {"a": [1, 2]}),
        ("a=true", {"a": True}),
        ("a=", {"a": None}),
        ("a=b=c", {"a": "b=c"}),
        ("a=1/2 causal + 1/2 mlm(rate=0.3)", {"a": "1/2 causal + 1/2 mlm(rate=0.3)"}),
    ],
)
def test_settings(setting: str, expected: dict[str, Any]) -> None:
    assert with_settings({}, [setting]) == expected


def test_the_last_setting_counts_and_nothing_given_is_changed() -> None:
    values = {"a": {"b": 1}}
    assert with_settings(values, ["a.b=2", "a.c=3", "a.b=4"]) == {"a": {"b": 4, "c": 3}}
    assert values == {"a": {"b": 1}}


def test_a_budget_replaces_the_one_before() -> None:
    assert with_settings(MINIMAL, ["training.budget.tokens=5e6"])["training"]["budget"] == {"tokens": 5e6}


@pytest.mark.parametrize("setting", ["a", "=1", "", "a.b", "a={", "a.=1", ".a=1", "a..b=1"])
def test_settings_that_cannot_be_read(setting: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        with_settings({}, [setting])


def test_a_value_has_no_keys() -> None:
    with pytest.raises(UsageError, match="'a' is a value"):
        with_settings({"a": 1}, ["a.b=2"])


@limits(max_examples=300)
@given(st.text(max_size=20))
def test_settings_never_fail_in_another_way(text: str) -> None:
    try:
        read(PretrainConfig, with_settings(MINIMAL, [text]))
    except UsageError:
        return


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1000steps", {"steps": 1000}),
        ("1 steps", {"steps": 1}),
        ("5e6tokens", {"tokens": 5e6}),
        ("1e14flops", {"flops": 1e14}),
        ("300s", {"seconds": 300.0}),
        ("2.5 min", {"seconds": 150.0}),
        ("2h", {"seconds": 7200.0}),
        ("20seconds", {"seconds": 20.0}),
        (" 20 S ", {"seconds": 20.0}),
    ],
)
def test_budgets(text: str, expected: dict[str, float]) -> None:
    assert read_budget(text) == expected
    assert read(PretrainConfig, {**MINIMAL, "training": {"budget": read_budget(text)}})


@pytest.mark.parametrize(
    "text",
    ["", "5", "steps", "-3steps", "0steps", "nans", "infs", "inf steps", "0.5steps", "5 apples", "1e400steps", "s"],
)
def test_budgets_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="a budget is a number and a unit"):
        read_budget(text)


@pytest.mark.parametrize("budget", [{}, {"steps": 5, "tokens": 5}, {"steps": None}])
def test_a_budget_is_exactly_one(budget: dict[str, Any]) -> None:
    for bare in (300, 1.5):  # as YAML reads --set training.budget=300
        with pytest.raises(UsageError, match=f"a budget is a number and a unit: .*got '{bare}'"):
            read(PretrainConfig, {"shards": "s", "out": "o", "training": {"budget": bare}})
    with pytest.raises(UsageError, match="exactly one of steps, tokens, flops, seconds"):
        read(PretrainConfig, {**MINIMAL, "training": {"budget": budget}})


@pytest.mark.parametrize("text", ["[1, 2]", "", "a: [", "just words", "\x00"])
def test_files_that_are_no_configuration(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"c\.yaml"):
        load_config(tmp_path / "c.yaml")
    with pytest.raises(UsageError, match=r"missing\.yaml"):
        load_config(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    ("length", "step", "micro", "processes", "fits"),
    [
        (128, 8192, 2048, 1, True),
        (128, 8192, 2048, 2, True),
        (128, 8192, 2048, 3, False),
        (128, 8192, 8192, 2, True),  # half of one each
        (128, 2048, 4096, 4, True),
        (128, 2048, 4096, 3, False),
        (512, 8192, 128, 4, True),  # a row at a time
        (100, 8192, 2048, 1, False),  # 81 rows in portions of 20
        (512, 256, 256, 1, False),  # less than a row
    ],
)
def test_steps_are_dealt_out_evenly(length: int, step: int, micro: int, processes: int, fits: bool) -> None:
    config = TrainingConfig.model_validate(
        {"budget": {"steps": 1}, "length": length, "step_tokens": step, "micro_tokens": micro}
    )
    if fits:
        config.check_split(processes)
        return
    with pytest.raises(UsageError, match=r"--set training\.step_tokens=(\d+)") as caught:
        config.check_split(processes)
    advice = int(str(caught.value).rpartition("=")[2])
    config.model_copy(update={"step_tokens": advice}).check_split(processes)
