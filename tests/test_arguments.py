"""What is wrong with an argument is one plain sentence: its name, what was expected, what came."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypedDict, Unpack

import numpy as np
import pytest

from bothways.arguments import all_checked, checked, several, several_or_pairs
from bothways.errors import UsageError
from bothways.planning import Fleet, costs, device


class Named(Protocol):
    name: str


class Options(TypedDict, total=False):
    rate: float
    share: float | None


@checked
def mix(
    first: Path, *names: str, count: int = 1, quick: bool = False, by: Named | None = None, **options: Unpack[Options]
) -> object:
    return first, names, count, quick, options


@all_checked
class Bag:
    def __init__(self, size: int) -> None:
        self.size = size

    def put(self, what: str | int) -> object:
        return what

    @classmethod
    def of(cls, size: int) -> Bag:
        return cls(size)


def test_what_fits_is_handed_on() -> None:
    assert mix("a", "b", count=np.int64(3), quick=True, by=Path("x"), rate=1, share=None) == (
        Path("a"),
        ("b",),
        3,
        True,
        {"rate": 1, "share": None},
    )
    assert mix("a", quick=np.bool_(True))[3] is True  # type: ignore[index]
    assert Bag.of(2).put("x") == "x" and Bag(np.int32(1)).put(3) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mix(None), "first: expected a path, got None"),
        (lambda: mix("a", "b", 5), r"names: expected a text, got 5 \(int\)"),
        (lambda: mix("a", count=2.5), r"count: expected a whole number, got 2.5 \(float\)"),
        (lambda: mix("a", count=True), "count: expected a whole number, got True"),
        (lambda: mix("a", count=np.True_), "count: expected a whole number, got True"),
        (lambda: mix("a", quick=1), r"quick: expected True or False, got 1 \(int\)"),
        (lambda: mix("a", rate=float("nan")), "rate: expected a number, got nan, which is how tables"),
        (lambda: mix("a", share="half"), "share: expected a number or None, got 'half'"),
        (lambda: mix("a", cuont=3), "argument of mix 'cuont'. Did you mean 'count'.*Known: by, count, first, names, "),
        (lambda: mix(), "mix: missing a required argument: 'first'. It takes: first, names, count, quick, by, rate"),
        (lambda: Bag("x"), "size: expected a whole number, got 'x'"),
        (lambda: Bag.of(None), "size: expected a whole number, got None"),
        (lambda: Bag(1).put(None), "what: expected a text or a whole number, got None"),
        (lambda: Bag(1).put(1, 2), "put: too many positional arguments. It takes: what"),
        (lambda: several(None), "expected a text, or a list of them, got None"),
        (lambda: several(b"ab"), r"expected a text, or a list of them, got b'ab'"),
        (lambda: several(["a", float("nan")]), "text 2: expected a text, got nan, which is how tables write an empty"),
        (lambda: several(["a", "b" * 9, 3]), r"text 3: expected a text, got 3 \(int\). Leave it out, or write"),
        (lambda: several_or_pairs(["a", ("b", None)]), r"text 2: expected a text or a pair of texts, got \('b', None"),
        (lambda: several_or_pairs(4), r"expected a text or a pair, or a list of them, got 4 \(int\)"),
        (lambda: costs(None, 1e6, Fleet(device("a100"))), "scale: expected a Scale, got None"),
    ],
)  # fmt: skip
def test_what_does_not_is_said(call, message) -> None:
    with pytest.raises(UsageError, match=message):
        call()


def test_texts_may_come_in_whatever_can_be_gone_through() -> None:
    assert several("a") == ["a"]
    assert several(np.array(["a", "b"])) == several(("a", "b")) == several(iter(["a", "b"])) == ["a", "b"]
    assert several_or_pairs(("a", "b")) == [("a", "b")]
    assert several_or_pairs(["a", ["b", "c"]]) == ["a", ("b", "c")]
