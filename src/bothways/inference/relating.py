"""Two things in a text, and how they are related: markers around both, which no cut takes away.

Letters: T tokens of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bothways.errors import UsageError
from bothways.inference.answering import logits_of
from bothways.inference.engine import Engine
from bothways.inference.examples import Encoded
from bothways.inference.labelling import Label, label_of, taught, warn_of_cuts
from bothways.inference.words import composed
from bothways.text import Tokenizer

_TAGS = re.compile(r"</?e[12]>")
_ORDER = ("<e1>", "</e1>", "<e2>", "</e2>")
_MARKERS = ("$#", "@*", "<>", "[]", "()")
"""What stands around the first and around the second thing, as in R-BERT; others where a tokenizer lacks it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A text with two things in it: where the first and the second begin and end, in characters, [2, 2]."""

    text: str
    things: np.ndarray

    @classmethod
    def marked(cls, text: str) -> Pair:
        """From a text with both marked: "The <e1>company</e1> makes <e2>chairs</e2>."

        Raises:
            UsageError: a mark is missing, twice there, or around nothing.
        """
        places, plain, end = {}, "", 0
        for found in _TAGS.finditer(text):
            plain += text[end : found.start()]
            if found.group() in places:
                raise UsageError(f"expected each of {', '.join(_ORDER)} once, got {found.group()} twice")
            places[found.group()], end = len(plain), found.end()
        if missing := [tag for tag in _ORDER if tag not in places]:
            raise UsageError(f"expected two things in <e1></e1> and <e2></e2>, got a text without {missing[0]}")
        return cls.placed(plain + text[end:], *(places[tag] for tag in _ORDER))

    @classmethod
    def placed(cls, text: str, start: int, end: int, other_start: int, other_end: int) -> Pair:
        """
        Raises:
            UsageError: a thing that is not inside the text, or only white space.
        """
        things = np.array([[start, end], [other_start, other_end]])
        for begin, behind in things.tolist():
            if not 0 <= begin < behind <= len(text) or not text[begin:behind].strip():
                raise UsageError(f"expected things inside the text, got characters {begin} to {behind}")
        composed(text)  # raises where offsets could not be kept
        return cls(text, things)


def relate(engine: Engine, texts: Sequence[str]) -> list[Label]:
    """Texts with both things marked.

    Raises:
        ModelError: the model was not fine-tuned to.
        UsageError: a text that is not marked so, or things that are longer than the model reads.
    """
    answers, length = taught(engine, "relate"), engine.length
    parts = [encode_related(engine.tokenizer, Pair.marked(text), length=length) for text in texts]
    warn_of_cuts(parts, f"the {length} tokens that the model reads")
    return [label_of(one[0], answers) for one in logits_of(engine.model, parts, answers)]


def encode_related(tokenizer: Tokenizer, pair: Pair, *, length: int) -> Encoded:
    """The text with markers around both things; what is too much is left out, the furthest from both first.

    Its one place has five parts, `at` [1, 5]: the beginning, the markers around the first, those around the second.

    Raises:
        UsageError: the things alone are more than fits.
    """
    read, places = composed(pair.text)
    tokens, covered = tokenizer.encode_spans(read)
    if not len(tokens):
        raise UsageError("expected a text, got none that the tokenizer keeps")
    spans = np.searchsorted(places, pair.things)
    first = np.minimum(np.searchsorted(covered[:, 1], spans[:, 0], side="right"), len(tokens) - 1)
    behind = np.maximum(np.searchsorted(covered[:, 0], spans[:, 1]), first + 1)
    place = np.arange(len(tokens))
    away = np.maximum(np.maximum(first[:, None] - place, place - behind[:, None] + 1), 0).min(0)  # [T]
    room = tokenizer.frame.room(length, 1) - 4
    if (needed := int((away == 0).sum())) > room:
        raise UsageError(f"the two things are {needed} tokens, and with their markers {room} fit in {length}")
    kept = np.sort(np.argsort(away, kind="stable")[:room])
    signs = markers(tokenizer)
    # Where two markers stand together, the one that closes is before the one that opens.
    put = sorted([(behind[i], 0, i) for i in (0, 1)] + [(first[i], 1, i) for i in (0, 1)])
    index = np.searchsorted(kept, [at for at, _, _ in put])
    marked = np.insert(tokens[kept], index, [signs[i] for _, _, i in put])
    framed, segments, (opening,) = tokenizer.frame.around(marked)
    stands = {(i, opens): at + rank + opening for rank, (at, (_, opens, i)) in enumerate(zip(index, put, strict=True))}
    at = np.array([[0, *(stands[i, opens] for i in (0, 1) for opens in (1, 0))]], dtype=np.int64)
    here = np.zeros(1, dtype=np.int64)
    return Encoded(framed, segments, at, here, here, len(tokens) - len(kept))


def markers(tokenizer: Tokenizer) -> tuple[int, int]:
    """The tokens around the first thing and around the second; of a tokenizer that knows no such signs, [MASK] and
    [SEP].

    Raises:
        UsageError: it has not even these.
    """
    for signs in _MARKERS:
        first, second = (int(tokenizer.encode(sign)[-1]) for sign in signs)
        if tokenizer.vocabulary.unk not in (first, second) and first != second:
            return first, second
    found = tokenizer.vocabulary.mask, tokenizer.vocabulary.sep
    if -1 in found:
        raise UsageError("expected a tokenizer that knows signs to mark things with, such as $ and #, or has [MASK]")
    return found
