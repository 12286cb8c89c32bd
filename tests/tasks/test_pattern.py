"""Patterns and verbalisers: what is read, what words are, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bothways.errors import UsageError
from bothways.tasks.pattern import Pattern, Slots, at_mask, shorter, words_of
from tests.inference.made import tokenizer

WORDS = {"a": "quick", "b": "fox"}


def test_a_pattern_is_filled_by_texts_in_their_order() -> None:
    assert Pattern.parse("{text} It was [MASK].").sides([" A film. "]) == ("A film. It was ", ".")
    pair = Pattern.parse("{text_b}? [MASK], {text_a}")
    assert pair.fields == ("text_a", "text_b")
    assert pair.sides(["one", "two"]) == ("two? ", ", one")


def test_columns_are_fields_in_the_order_in_which_they_stand() -> None:
    pattern = Pattern.parse("{headline}: {body} {{sic}} [MASK] [MASK]")
    assert (pattern.fields, pattern.columns) == (("headline", "body"), {"text": "headline", "other": "body"})
    assert pattern.masks == 2
    assert pattern.sides(["A", "B"]) == ("A: B {sic} ", "")
    assert Pattern.parse("{标题}：[MASK]").columns == {"text": "标题"}


def test_braces_in_a_text_are_text() -> None:
    assert Pattern.parse("{text} [MASK]").sides(["{text} [MASK] {0}"]) == ("{text} [MASK] {0} ", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{text} It was.", "expected one \\[MASK\\].* got none"),
        ("{text} [MASK] and [MASK]", "got 2 apart"),
        ("It was [MASK].", "expected {text}.* got none"),
        ("{a} {b} {c} [MASK]", "got 3 fields: a, b, c"),
        ("{text It was [MASK]", "expected '}'.*braces?"),
        ("{text!r} [MASK]", "got {text!r}"),
        ("{text.__class__} [MASK]", "got {text.__class__}"),
        ("{text:>{text}} [MASK]", "got {text:>{text}}"),
        ("{} [MASK]", "got {}"),
        ("{0} [MASK]", "got {0}"),
        ("{text_b} It was [MASK]", "{text_b} beside {text} or {text_a}.*got text_b"),
        ("{text_b} {title} [MASK]", "{text_b} beside {text} or {text_a}.*got text_b"),
        ("{text} {text_a} [MASK]", "got text and text_a"),
    ],
)
def test_a_pattern_that_does_not_serve_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("{", "\\{").replace("}", "\\}") if "\\" not in says else says):
        Pattern.parse(text)


def test_texts_that_are_too_few_are_refused() -> None:
    with pytest.raises(UsageError, match="expected 2 texts an example, got 1"):
        Pattern.parse("{text_a} {text_b} [MASK]").sides(["one"])


def test_a_verbaliser_is_read_from_a_line_or_a_mapping() -> None:
    assert words_of("0=bad, 1=good") == words_of({0: "bad", 1: " good "}) == {"0": "bad", "1": "good"}


@pytest.mark.parametrize(
    ("verbaliser", "says"),
    [
        ("good", "expected LABEL=WORD .* got 'good'"),
        ("good=great", "two labels or more.* got 1"),
        ("good=great,bad=", "a word for the label 'bad', got ''"),
        ("good=great,bad=great", "'good' and 'bad' have the same word, 'great'"),
        ("good=great,good=fine,bad=awful", "got two for 'good'"),
        ({"good": "great", "bad": ["awful"]}, "a word for the label 'bad', got \\['awful'\\]"),
        ({None: "great", "bad": "awful"}, "a word for the label None"),
    ],
)
def test_a_verbaliser_that_does_not_serve_is_refused(verbaliser: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        words_of(verbaliser)  # type: ignore[arg-type] # of the wrong kind, too


def test_a_word_of_several_tokens_needs_as_many_masks() -> None:
    own, pattern = tokenizer("bpe"), Pattern.parse("{text} It was [MASK].")
    with pytest.raises(UsageError, match="one token for 'a'.* got 'quick', which is 2: 'Ġqu', 'ick'.* write "):
        Slots.of(pattern, WORDS, own)
    slots = Slots.of(Pattern.parse("{text} It was [MASK][MASK]."), WORDS, own)
    assert (slots.lengths, slots.masks) == ((2,), 2)
    assert own.tokens(slots.tokens[0]) == ["Ġqu", "ick"]  # with the space that the mask takes


def test_a_word_at_the_beginning_has_no_space_before_it() -> None:
    own = tokenizer("bpe")
    slots = Slots.of(Pattern.parse("[MASK][MASK][MASK][MASK]: {text}"), WORDS, own)
    spelt = ["".join(own.tokens(row[there > 0])) for row, there in zip(slots.tokens, slots.there, strict=True)]
    assert spelt == ["quick", "fox"]


def test_words_without_tokens_or_with_the_same_are_refused() -> None:
    own, pattern = tokenizer("wordpiece"), Pattern.parse("{text} It was [MASK].")
    with pytest.raises(UsageError, match="no tokens for '🜚', the word of 'b'"):
        Slots.of(pattern, {"a": "quick", "b": "🜚"}, own)
    with pytest.raises(UsageError, match="'a' and 'b' have words of the same tokens"):
        Slots.of(Pattern.parse("{text} " + "[MASK]" * 8), {"a": "caf\u00e9", "b": "cafe\u0301"}, own)


def test_a_score_is_the_sum_over_a_words_own_masks() -> None:
    """A word of one token is read with one mask, one of two with two: row by row, as the definition says."""
    own = tokenizer("bpe")
    pattern = Pattern.parse("{text} It was [MASK][MASK].")
    slots = Slots.of(pattern, {"a": "quick", "b": "is"} if len(own.encode(" is")) == 1 else {}, own)
    assert slots.lengths == (1, 2)
    logits = torch.randn(2 * slots.masks, own.vocabulary.size, generator=torch.Generator().manual_seed(0))
    each = logits.log_softmax(-1)
    one, two = own.encode(" is"), own.encode(" quick")
    expected = [
        [float(each[3 * text + 1, two[0]] + each[3 * text + 2, two[1]]), float(each[3 * text, one[0]])]
        for text in range(2)
    ]
    np.testing.assert_allclose(slots.scores(each).numpy(), expected, rtol=1e-5)


def test_with_one_mask_it_is_a_softmax_over_the_words_logits() -> None:
    own = tokenizer("wordpiece")
    slots = Slots.of(Pattern.parse("{text} It was [MASK]."), WORDS, own)
    logits = torch.randn(3, own.vocabulary.size, generator=torch.Generator().manual_seed(0))
    words = [own.encode("quick")[0], own.encode("fox")[0]]
    found = slots.scores(logits.log_softmax(-1)).softmax(-1)
    np.testing.assert_allclose(found.numpy(), logits[:, words].softmax(-1).numpy(), rtol=1e-5)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_what_is_read_is_what_a_marked_text_is(kind: str) -> None:
    own = tokenizer(kind)
    before, after = Pattern.parse("{text} It was [MASK].").sides(["The lazy dog"])
    left, right, _ = at_mask(own, before, after)
    whole = own.encode_marked("The lazy dog It was [MASK].")
    assert [*own.encode(left), own.vocabulary.mask, *own.encode(right)] == whole


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_texts_are_cut_at_their_ends_the_longest_first(kind: str) -> None:
    own = tokenizer(kind)
    long, short = "今天天气很好 🙂🙂 naïve café " * 3 + "fox", "dog"
    assert shorter(own, [long, short], 0) == [long, short]
    sizes = [len(own.encode(text)) for text in shorter(own, [long, short], 5)]
    assert sizes[0] < len(own.encode(long))
    assert sizes[1] == len(own.encode(short))
    left = [long, short]
    while any(left):
        cut = shorter(own, left, 1)
        assert sum(map(len, cut)) < sum(map(len, left))
        left = cut
