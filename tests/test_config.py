"""Functions that take a record take its fields: by keyword, with dots, as dicts; what is wrong is one sentence."""

from __future__ import annotations

import inspect
from pathlib import Path

import pandas
import pytest
from pydantic import Field

import bothways
from bothways.arguments import checked
from bothways.config import Frozen, settled, with_settings
from bothways.errors import UsageError
from bothways.training.config import Budget, TrainingConfig


class Oven(Frozen):
    heat: int = Field(default=200, ge=50)
    budget: Budget = Budget(steps=1)


class Bread(Frozen):
    flour: Path
    grams: int = 500
    oven: Oven = Oven()


@settled(Bread)
@checked
def bake(config: Bread, *, loud: bool = False) -> tuple[Bread, bool]:
    """Bakes."""
    return config, loud


@settled(Oven, "oven")
@checked
def warm(what: str, *, oven: Oven | None = None) -> tuple[str, Oven | None]:
    return what, oven


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: bake(Bread(flour="a")), Bread(flour="a")),
        (lambda: bake(config=Bread(flour="a")), Bread(flour="a")),
        (lambda: bake("a", grams=3), Bread(flour="a", grams=3)),
        (lambda: bake(Path("a")), Bread(flour="a")),
        (lambda: bake(flour="a", oven={"heat": 90}), Bread(flour="a", oven=Oven(heat=90))),
        (lambda: bake("a", oven=Oven(heat=90)), Bread(flour="a", oven=Oven(heat=90))),
        (lambda: bake("a", **{"oven.heat": 90}), Bread(flour="a", oven=Oven(heat=90))),
        (
            lambda: bake("a", oven={"heat": 90}, **{"oven.budget.tokens": 5}),
            Bread(flour="a", oven=Oven(heat=90, budget=Budget(tokens=5))),
        ),
        (
            lambda: bake("a", oven=Oven(heat=90), **{"oven.budget": "2h"}),
            Bread(flour="a", oven=Oven(heat=90, budget=Budget(seconds=7200))),
        ),
    ],
)  # fmt: skip
def test_a_record_or_its_fields(call, expected: Bread) -> None:
    assert call() == (expected, False)


def test_the_functions_own_keywords_stay_its_own() -> None:
    assert bake("a", loud=True) == (Bread(flour="a"), True)
    assert warm("a") == ("a", None) and warm("a", oven=Oven()) == warm("a", heat=200) == ("a", Oven())


def test_what_is_given_is_not_changed() -> None:
    oven = {"heat": 90}
    bake("a", oven=oven, **{"oven.heat": 70})
    assert oven == {"heat": 90}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bake("a", gramms=3), "unknown argument of bake 'gramms'. Did you mean 'grams'.*loud"),
        (lambda: bake("a", laud=True), "unknown argument of bake 'laud'. Did you mean 'loud'"),
        (lambda: bake("a", oven={"heet": 3}), r"unknown configuration key 'oven\.heet'. Did you mean 'oven\.heat'"),
        (lambda: bake("a", oven={"heet": 3, "tume": 1}), r"key 'oven\.heet'.* Unknown too: oven\.tume\.$"),
        (lambda: bake("a", **{"oven.heet": 3}), r"unknown configuration key 'oven\.heet'. Did you mean 'oven\.heat'"),
        (lambda: bake("a", **{"grams.heat": 3}), "unknown configuration|grams: .*valid integer"),
        (lambda: bake("a", oven={"heat": 3}), r"oven\.heat: .*greater than or equal to 50, got 3"),
        (lambda: bake("a", oven={"budget": "5 miles"}), r"oven\.budget: a budget is a number and a unit.*miles.$"),
        (lambda: bake("a", 3), "bake: expected one argument before its keywords, got 2"),
        (lambda: bake(Bread(flour="a"), grams=3), "a record or by their names, got both: grams"),
        (lambda: bake(grams=3), "flour: Field required"),
        (lambda: bake(), "flour: Field required"),
        (lambda: bake("a", loud=3), "loud: expected True or False"),
        (lambda: warm("a", oven=Oven(), heat=90), "got both: heat"),
        (lambda: warm(3), "what: expected a text, got 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(call, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


def test_the_fields_are_seen_where_a_record_would_be() -> None:
    parameters = inspect.signature(bake).parameters
    assert [*parameters] == ["flour", "grams", "oven", "loud"]
    assert parameters["grams"].default == 500 and parameters["grams"].kind is inspect.Parameter.KEYWORD_ONLY
    assert [*inspect.signature(warm).parameters] == ["what", "heat", "budget"]
    assert bake.__doc__ == "Bakes."


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("prepare", {"sources", "out", "pairs", "vocabulary", "kind", "overwrite"}),
        ("pretrain", {"shards", "out", "size", "objective", "training", "resume"}),
        ("finetune", {"model", "train", "task", "epochs", "resume"}),
        ("compare", {"shards", "out", "objectives", "budget", "seeds"}),
        ("plan", {"shards", "size", "time", "hardware"}),
    ],
)
def test_every_command_shows_its_settings(name: str, shown: set[str]) -> None:
    assert shown <= {*inspect.signature(getattr(bothways, name)).parameters}


def test_a_budget_is_read_as_the_command_line_writes_it() -> None:
    assert TrainingConfig(budget="40min").budget == Budget(seconds=2400)
    with pytest.raises(ValueError, match="a budget is a number and a unit"):
        TrainingConfig(budget="soon")


def test_a_model_may_be_a_path() -> None:
    """As `pretrain` gives it."""
    assert bothways.FinetuneConfig(model=Path("runs/first"), train="a.csv").model == "runs/first"
    assert bothways.PretrainConfig(shards="s", out="o", start=Path("runs/first")).start == "runs/first"
    with pytest.raises(ValueError, match="valid string"):
        bothways.FinetuneConfig(model=3, train="a.csv")


def test_register_takes_objectives_and_tasks() -> None:
    from bothways.objectives import OBJECTIVES, causal
    from bothways.tasks import TASKS
    from bothways.tasks.classify import Classify

    def forwards_of_mine(vocabulary, *, sure: float = 1.0):
        return causal(vocabulary)

    try:
        assert bothways.register(forwards_of_mine) is forwards_of_mine and "forwards-of-mine" in OBJECTIVES
        mine = type("Mine", (Classify,), {"name": "mine"})
        assert bothways.register(mine) is mine and "mine" in TASKS
    finally:
        OBJECTIVES.pop("forwards-of-mine", None)
        TASKS.pop("mine", None)
    with pytest.raises(UsageError, match="'causal' is one of Bothways' own"):
        bothways.register(causal)
    with pytest.raises(UsageError, match="expects a class made from Task"):
        bothways.register(int)


@pytest.mark.parametrize("kind", ["finetune", "evaluate", "predict"])
def test_a_table_where_a_file_is_expected_is_not_printed(kind: str) -> None:
    table = pandas.DataFrame({"text": ["good", "bad"] * 50, "label": ["yes", "no"] * 50})
    calls = {
        "finetune": lambda: bothways.finetune("nowhere", train=table, out="nowhere-either"),  # type: ignore[call-overload]
        "evaluate": lambda: bothways.evaluate("nowhere", table),  # type: ignore[arg-type]
        "predict": lambda: bothways.predict("nowhere", table),  # type: ignore[call-overload]
    }
    with pytest.raises(
        UsageError, match="expected a path( or None)?, got a table \\(DataFrame\\). Write it to a file: .to_json"
    ):
        calls[kind]()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("a=5e13", 5e13), ("a=0", 0), ('a="0"', "0"), ("a='nan'", "nan"), ("a=text", "text"), ("a= 1e3 ", 1e3)],
)
def test_what_stands_in_quotes_is_text(setting: str, value: object) -> None:
    found = with_settings({}, [setting])["a"]
    assert (found, type(found)) == (value, type(value))
