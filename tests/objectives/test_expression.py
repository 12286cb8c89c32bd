"""Objectives as they are written on the command line."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothways.errors import UsageError
from bothways.objectives import build
from bothways.objectives.corruptions import Linear
from bothways.objectives.expression import parse
from tests.objectives.rows import VOCABULARY

names = st.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z]{1,4})?", fullmatch=True)
decimals = st.decimals(min_value=0, max_value=999, places=3).map(lambda number: f"{number:f}")
numbers = decimals | st.builds("{}/{}".format, st.integers(0, 99), st.integers(1, 99))
spaces = st.sampled_from(["", " ", "  "])


def float_of(text: str) -> float:
    top, _, bottom = text.partition("/")
    return float(Fraction(top) / Fraction(bottom or 1))


@st.composite
def values(draw: st.DrawFn) -> tuple[str, object]:
    kind = draw(st.sampled_from(["number", "schedule", "name"]))
    if kind == "name":
        name = draw(names)
        return name, name
    first, last = draw(numbers), draw(numbers)
    if kind == "number":
        return first, float_of(first)
    return f"{first}->{last}", Linear(float_of(first), float_of(last))


@st.composite
def terms(draw: st.DrawFn) -> tuple[str, tuple[float, str, dict[str, object]]]:
    weight = draw(st.none() | numbers.filter(lambda number: float_of(number) > 0))
    name = draw(names)
    arguments = draw(st.dictionaries(names, values(), max_size=3))
    gap, times = draw(spaces), draw(st.sampled_from([" ", " * ", "*"]))
    inside = f"{gap},{gap}".join(f"{key}{gap}={gap}{text}" for key, (text, _) in arguments.items())
    written = f"{weight}{times}" if weight else ""
    written += name + (f"({gap}{inside}{gap})" if inside or draw(st.booleans()) else "")
    return written, (float_of(weight or "1"), name, {key: value for key, (_, value) in arguments.items()})


@given(st.lists(terms(), min_size=1, max_size=4), spaces)
def test_what_is_written_is_what_is_read(
    written: list[tuple[str, tuple[float, str, dict[str, object]]]], gap: str
) -> None:
    (read,) = parse(f"{gap}+{gap}".join(text for text, _ in written))
    assert [(float(term.weight), term.name, term.arguments) for term in read.terms] == [meant for _, meant in written]


@given(st.lists(st.tuples(numbers.filter(float_of), st.lists(terms(), min_size=1, max_size=3)), min_size=1), spaces)
def test_phases_are_read_with_their_shares(
    written: list[tuple[str, list[tuple[str, tuple[float, str, dict[str, object]]]]]], gap: str
) -> None:
    groups = [f"{share}{gap}({gap}{' + '.join(text for text, _ in members)})" for share, members in written]
    read = parse(f"{gap}->{gap}".join(groups))
    assert [float(phase.share) for phase in read] == [float_of(share) for share, _ in written]
    assert [[term.name for term in phase.terms] for phase in read] == [
        [meant[1] for _, meant in members] for _, members in written
    ]


def test_a_single_term_before_an_arrow_has_its_weight_as_its_share() -> None:
    first, second, third = parse("1/3 causal -> 2/3 mlm(rate=0.3->0.15) -> 3 causal + mlm")
    assert [phase.share for phase in (first, second, third)] == [Fraction(1, 3), Fraction(2, 3), 1]
    assert second.terms[0].arguments == {"rate": Linear(0.3, 0.15)}
    assert [term.weight for term in third.terms] == [3, 1]


@given(st.text(max_size=40) | st.text(alphabet="ab12./*+-=(), >", max_size=40))
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    try:
        phases = parse(text)
    except UsageError as error:
        assert "for example" in str(error)
    else:
        assert all(phase.share > 0 and phase.terms for phase in phases)
        assert all(term.weight > 0 and term.name for phase in phases for term in phase.terms)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("", "expected [weight] name"),
        ("1/2 causal +", "cannot read ''"),
        ("1/2 causal 1/2 mlm", "cannot read"),
        ("0 causal + 1 mlm", "a weight above 0"),
        ("1/0 causal", "a weight above 0"),
        ("mlm(rate)", "key=value"),
        ("mlm(rate=1/0)", "key=value"),
        ("mlm(rate=0.1, rate=0.2)", "'rate' only once"),
        ("mlm(rate=0.3", "cannot read"),
        ("hidden", "unknown objective 'hidden'. Known: any-order, bang, block-diffusion, causal, "),
        ("causal ->", "cannot read ''"),
        ("0 (causal) -> mlm", "a share of the steps above 0"),
        ("causal -> (mlm", "cannot read"),
        ("causal -> ((mlm))", "cannot read"),
        ("casual", "Did you mean 'causal'?"),
        ("mlm(word=whole)", "unknown argument of mlm 'word'. Did you mean 'words'?"),
        ("causal(rate=0.3)", "unknown argument of causal 'rate'"),
        ("mlm(words=hole)", "unknown value of words 'hole'. Did you mean 'whole'?"),
        ("mlm(replace=nothing)", "unknown value of replace 'nothing'"),
        ("mlm(rate=whole)", "rate of mlm takes a number or number->number, got whole"),
        ("mlm(words=3)", "words of mlm takes a name, got 3"),
        ("hybrid(causal=0.1->0.2)", "causal of hybrid takes a number, got 0.1->0.2"),
        ("mlm(rate=0)", "above 0 and at most 1, got 0"),
        ("mlm(rate=0.5->1.5)", "above 0 and at most 1"),
        ("mlm(weight=0)", "above 0"),
        ("hybrid(causal=1)", "'causal' and 'mlm'"),
    ],
)
def test_errors_say_what_was_expected(expression: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(expression, VOCABULARY)
    assert told in str(caught.value)


def test_a_number_of_many_digits_takes_no_time() -> None:
    with pytest.raises(UsageError):
        parse("9" * 100_000 + " causal")
