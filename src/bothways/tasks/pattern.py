"""A pattern asks for a label as a word in a text, "{text} It was [MASK].", and a verbaliser has a word for each label.

Letters: B examples, C labels, J tokens of the longest word, S masks in all rows of an example, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from string import Formatter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bothways.errors import UsageError
from bothways.tasks.labels import label_name
from bothways.text import Tokenizer

_MASKS = re.compile(r"\[MASK\](?:\s*\[MASK\])*")
_GUESSED = ("text", "text_a", "text_b")
"""Fields that are no names of columns: of a file, the columns that a name tells to be the text, or the other one."""
ROLES = ("text", "other")
Part = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text with a place for one text or two, and one for the word of a label.

    text           as it was written
    before, after  what stands on each side of the word: (text, the field behind it)
    fields         the names of the texts: {text}, {text_a} and {text_b}, or of columns
    masks          how many [MASK] stand side by side: the most tokens that a word may have where it is filled in
    """

    text: str
    before: tuple[Part, ...]
    after: tuple[Part, ...]
    fields: tuple[str, ...]
    masks: int

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """
        Raises:
            UsageError: no [MASK] or several apart, no text or more than two, or what is no name in braces.
        """
        found = list(_MASKS.finditer(text))
        if len(found) != 1:
            expected = "one [MASK], or several side by side, where the word of a label stands"
            raise UsageError(f"pattern {text!r}: expected {expected}, got {_count(found)}. {_EXAMPLE}")
        before, after = (_parts(side, text) for side in (text[: found[0].start()], text[found[0].end() :]))
        named = list(dict.fromkeys(field for _, field in (*before, *after) if field))
        fields = sorted(named, key=lambda field: _GUESSED.index(field) if field in _GUESSED else len(_GUESSED))
        if not 1 <= len(fields) <= len(ROLES):
            expected = "{text}, or {text_a} and {text_b}, or one or two columns by name, in braces"
            got = f"{len(fields)} fields: {', '.join(fields)}" if fields else "none"
            raise UsageError(f"pattern {text!r}: expected {expected}, got {got}. {_EXAMPLE}")
        guessed = [field for field in fields if field in _GUESSED]
        if guessed in (["text_b"], ["text", "text_a"]):
            expected = "{text_b} beside {text} or {text_a}, and one of these alone; or a column by name"
            raise UsageError(f"pattern {text!r}: expected {expected}, got {' and '.join(guessed)}. {_EXAMPLE}")
        return cls(text, before, after, tuple(fields), found[0].group().count("[MASK]"))

    @property
    def columns(self) -> dict[str, str]:
        """{role: column} of the fields that name a column."""
        pairs = zip(ROLES, self.fields, strict=False)
        return {role: field for role, field in pairs if field not in _GUESSED}

    def sides(self, texts: Sequence[str]) -> tuple[str, str]:
        """What stands before the word and behind it, for one example's texts in the order of `fields`; white space
        around a text is left out.

        Raises:
            UsageError: another number of texts.
        """
        if len(texts) < len(self.fields):
            raise UsageError(f"pattern {self.text!r}: expected {len(self.fields)} texts an example, got {len(texts)}")
        values = {field: one.strip() for field, one in zip(self.fields, texts, strict=False)}
        before, after = (
            "".join(text + (values[field] if field else "") for text, field in side)
            for side in (self.before, self.after)
        )
        return before.lstrip(), after.rstrip()


_EXAMPLE = "For example: '{text} It was [MASK].'"


def _count(found: Sequence[object]) -> str:
    return f"{len(found)} apart" if found else "none"


def _parts(side: str, whole: str) -> tuple[Part, ...]:
    try:
        parts = list(Formatter().parse(side))
    except ValueError as error:
        raise UsageError(f"pattern {whole!r}: {error}. Write a brace that is text twice: {{{{ or }}}}") from None
    for _, field, how, conversion in parts:
        if field is not None and (how or conversion or not re.fullmatch(r"[^.\[\]{}!:]+", field) or field.isdecimal()):
            shown = f"{{{field}{f'!{conversion}' if conversion else ''}{f':{how}' if how else ''}}}"
            raise UsageError(f"pattern {whole!r}: expected in braces the name of a text or a column, got {shown}")
    return tuple((text, field) for text, field, _, _ in parts)


Verbaliser = str | Mapping[Any, Any]
"""{label: its word}, or "good=great,bad=terrible"."""


def words_of(verbaliser: Verbaliser) -> dict[str, str]:
    """{label: its word}, labels as files have them.

    Raises:
        UsageError: fewer than two labels, no word, a label twice, or one word for two labels.
    """
    found: dict[str, str] = {}
    for label, word in _pairs(verbaliser):
        name, text = label_name(label), str(word).strip() if isinstance(word, str | int | float) else ""
        if name is None or not text:
            raise UsageError(f"verbaliser: expected a word for the label {label!r}, got {word!r}")
        if name in found:
            raise UsageError(f"verbaliser: expected one word for each label, got two for {name!r}")
        if other := next((one for one, known in found.items() if known == text), None):
            raise UsageError(f"verbaliser: {other!r} and {name!r} have the same word, {text!r}. Give each its own")
        found[name] = text
    if len(found) < 2:
        raise UsageError(
            f"verbaliser: expected a word for two labels or more, as good=great,bad=terrible, got {len(found)}"
        )
    return found


def _pairs(verbaliser: Verbaliser) -> Iterator[tuple[Any, Any]]:
    if not isinstance(verbaliser, str):
        yield from verbaliser.items()
        return
    for part in filter(None, map(str.strip, verbaliser.split(","))):
        label, equals, word = part.partition("=")
        if not equals:
            raise UsageError(f"verbaliser: expected LABEL=WORD for each label, good=great,bad=terrible, got {part!r}")
        yield label, word


def at_mask(tokenizer: Tokenizer, before: str, after: str) -> tuple[str, str, str]:
    """What is read before the mask and behind it, without the white space that the tokenizer gives to the mask, and
    what of that stands before it: a word in its place is read with it (" great")."""
    left, right = before[len(before.rstrip()) :], after[: len(after) - len(after.lstrip())]
    kept = tokenizer.around_masks(f"{left}[MASK]{right}")
    return before.rstrip() + kept[0], kept[1] + after.lstrip(), left[len(kept[0]) :]


@dataclass(frozen=True, slots=True)
class Slots:
    """The words of labels as tokens in the places of masks. A label is read with as many masks as its word has tokens,
    so an example is one row for each number in `lengths`; `at` [C, J] counts the masks through all of them.

    tokens  [C, J]; where `there` [C, J] is 0, the word has ended
    """

    labels: tuple[str, ...]
    lengths: tuple[int, ...]
    at: np.ndarray
    tokens: np.ndarray
    there: np.ndarray

    @classmethod
    def of(cls, pattern: Pattern, verbaliser: Mapping[str, str], tokenizer: Tokenizer) -> Slots:
        """
        Raises:
            UsageError: a word with more tokens than the pattern has masks, with a part that the tokenizer has no token
                for, or with the tokens of another one.
        """
        before = "".join(text + ("x" if field else "") for text, field in pattern.before)
        _, _, lead = at_mask(tokenizer, before, "")
        spelt: dict[str, tuple[int, ...]] = {}
        for label, word in verbaliser.items():
            tokens = tuple(tokenizer.encode(lead + word))
            parts = ", ".join(map(repr, tokenizer.tokens(tokens)))
            if not tokens or tokenizer.vocabulary.unk in tokens:
                raise UsageError(f"verbaliser: the tokenizer has no tokens for {word!r}, the word of {label!r}")
            if len(tokens) > pattern.masks:
                raise UsageError(
                    f"verbaliser: expected a word of {_tokens(pattern.masks)} for {label!r}, as many as the pattern "
                    f"{pattern.text!r} has masks, got {word!r}, which is {len(tokens)}: {parts}. Take another word, or "
                    f"write {'[MASK]' * len(tokens)}"
                )
            if other := next((one for one, known in spelt.items() if known == tokens), None):
                raise UsageError(f"verbaliser: {other!r} and {label!r} have words of the same tokens, {parts}")
            spelt[label] = tokens
        lengths = sorted({len(tokens) for tokens in spelt.values()})
        begins = dict(zip(lengths, accumulate([0, *lengths]), strict=False))
        shape = len(spelt), lengths[-1]
        at, tokens_of, there = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        for row, tokens in enumerate(spelt.values()):
            some = slice(len(tokens))
            at[row, some] = begins[len(tokens)] + np.arange(len(tokens))
            tokens_of[row, some], there[row, some] = tokens, 1.0
        return cls(tuple(spelt), tuple(lengths), at, tokens_of, there)

    @property
    def masks(self) -> int:
        """In all rows of an example, S."""
        return sum(self.lengths)

    def scores(self, log_probabilities: Tensor) -> Tensor:
        """[B * S, V] -> [B, C]: the sum of log p of a word's tokens, each at its own mask while all masks are there.

        With one mask, a softmax of it is PET's: over the words' logits alone (Schick & Schuetze 2021a, section 3). Of
        words of several tokens it is what PET trains by (2021b, section 3.1), and here asks by, too.
        """
        each = log_probabilities.unflatten(0, (-1, self.masks))
        at, tokens, there = (torch.from_numpy(one).to(each.device) for one in (self.at, self.tokens, self.there))
        found: Tensor = (each[:, at, tokens] * there).sum(-1)
        return found


def _tokens(count: int) -> str:
    return "one token" if count == 1 else f"at most {count} tokens"


def shorter(tokenizer: Tokenizer, texts: Sequence[str], by: int) -> list[str]:
    """Texts with so many tokens less, cut off the end of the longest one; no text is left where there are no more."""
    spans = [tokenizer.encode_spans(text)[1] for text in texts]
    lengths = [len(one) for one in spans]
    for _ in range(min(by, sum(lengths))):
        lengths[lengths.index(max(lengths))] -= 1
    ends = [int(one[length - 1, 1]) if length else 0 for one, length in zip(spans, lengths, strict=True)]
    cut = [text[:end] if end < len(text) else text for text, end in zip(texts, ends, strict=True)]
    # a letter of several tokens may still stand whole: it goes, too
    return [one[:-1] if lengths[i] < len(spans[i]) and one == texts[i] else one for i, one in enumerate(cut)]
