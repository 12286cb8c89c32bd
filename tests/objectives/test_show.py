"""What `bothways show-objective` prints."""

from __future__ import annotations

import pytest

from bothways.errors import UsageError
from bothways.objectives import OBJECTIVES, build
from bothways.objectives.show import columns, pictures, show
from tests.objectives.rows import VOCABULARY


def table(text: str) -> str:
    return text.split("\n\n", maxsplit=1)[1]


def test_causal() -> None:
    expected = """\
reads  step  sees [CLS] a bb c [SEP]  predicts
[CLS]     0         ■   · ·  ·   ·    a
a         1         ■   ■ ·  ·   ·    bb
bb        2         ■   ■ ■  ·   ·    c
c         3         ■   ■ ■  ■   ·    [SEP]
[SEP]     4         ■   ■ ■  ■   ■"""
    assert table(show("causal", ["a bb c"])) == expected


def test_mlm_shows_the_text_beside_what_is_read() -> None:
    expected = """\
text   reads   step  sees [CLS] [MASK] [SEP]  predicts
[CLS]  [CLS]      0         ■     ■      ■
a      [MASK]     0         ■     ■      ■    a
[SEP]  [SEP]      0         ■     ■      ■"""
    assert table(show("mlm(rate=1)", ["a"])) == expected


def test_documents_share_a_row_and_chinese_lines_up() -> None:
    expected = """\
reads  step  sees [CLS] 你 好 [SEP] [CLS] b [SEP]  predicts
[CLS]     0         ■   ·  ·    ·     ·   ·   ·    你
你        1         ■   ■  ·    ·     ·   ·   ·    好
好        2         ■   ■  ■    ·     ·   ·   ·    [SEP]
[SEP]     3         ■   ■  ■    ■     ·   ·   ·
[CLS]     0         ·   ·  ·    ·     ■   ·   ·    b
b         1         ·   ·  ·    ·     ■   ■   ·    [SEP]
[SEP]     2         ·   ·  ·    ·     ■   ■   ■"""
    assert table(show("causal", ["你 好", "b"])) == expected


def test_a_pair_shows_its_parts_and_what_the_objective_does_with_them() -> None:
    expected = """\
reads  part  step  language  sees [CLS] a [SEP] b [SEP]  predicts
[CLS]     0     0         0         ■   ■   ■   ·   ·
a         0     0         0         ■   ■   ■   ·   ·
[SEP]     0     0         0         ■   ■   ■   ·   ·    b
b         1     3         1         ■   ■   ■   ■   ·    [SEP]
[SEP]     1     4         1         ■   ■   ■   ■   ■"""
    shown = show("prefix", ["a [SEP] b"])
    assert table(shown) == expected
    assert "\npairs: predicts the target of a pair after its source\n" in shown
    assert "\npairs: reads a pair as one text\n" in show("mlm", ["a [SEP] b"])


def test_words_of_several_tokens_are_hidden_whole() -> None:
    for seed in range(10):
        shown = show("mlm(words=whole, rate=0.5, replace=all-mask)", ["play ##ing read ##ing"], seed=seed)
        assert shown.count("[MASK]") in (4, 8)  # two or four places, each once as a line and once as a column


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_kind_of_row_is_shown(name: str) -> None:
    objective = build(name, VOCABULARY)
    shown = show(name, ["a b c d e f"])
    assert objective.about.summary in shown and objective.about.paper in shown
    assert shown.count("predicts\n") == len({leaf for leaf, _ in objective.leaves()})


def test_the_same_seed_shows_the_same() -> None:
    assert show("mlm", ["a b c d e f"], seed=3) == show("mlm", ["a b c d e f"], seed=3)


@pytest.mark.parametrize("texts", [[], [""], ["a b", "  "]])
def test_no_words_are_refused(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="one word or more"):
        show("mlm", texts)


def test_both_sides_of_an_encoder_decoder_are_named() -> None:
    (picture,) = pictures("seq2seq", ["a b c d e f"])
    found = columns(picture)
    assert "text" not in found and {*found["side"]} == {"encoder", "decoder"}
    assert len({len(cells) for cells in found.values()}) == 1
