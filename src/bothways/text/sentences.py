"""A text as sentences, and sentences as a text: English, Chinese and what is punctuated as either.

The rule. A sentence ends behind 。！？… with the quotes and brackets that close there, and behind . ! ? where white
space and no small letter follows, or an ideograph. It does not end behind an abbreviation (Dr., e.g., Fig.), a single
capital letter (J. Smith), or a number that a sentence begins with (1. First). An empty line always ends one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from bothways.text.characters import HAN, UNSPACED

WIDE = "。！？｡…"
"""They end a sentence whatever follows, but for a mark that goes on with it."""
CLOSING = "\"'”’」』）)】》〉］]｝}"
_GOES_ON = "，,、；;：:—"
_END = re.compile(rf"[{WIDE}.!?]+[{re.escape(CLOSING)}]*")
_LETTER = re.compile(f"[{HAN}{UNSPACED}]")
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_TITLES = "mr mrs ms dr prof rev hon st jr sr gen col lt sgt capt gov sen rep pres dept univ inc ltd co corp bros"
_LATIN = "vs etc al e.g i.e cf viz approx fig figs eq eqs sec ch no nos vol pp ed eds ref refs resp est"
_TIMES = "jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun a.m p.m u.s u.k"
ABBREVIATIONS = frozenset(f"{_TITLES} {_LATIN} {_TIMES}".split())
"""In small letters, without the last full stop; "etc." and "a.m." may end a sentence, and then two stay one."""


def split_sentences(text: str) -> list[str]:
    """Its sentences in order, without the white space around them; none of a text that has nothing else."""
    found = (sentence for part in _PARAGRAPH.split(text) for sentence in _sentences(part))
    return [sentence for sentence in found if sentence]


def join_sentences(sentences: Sequence[str]) -> str:
    """As one text: with a space between two, and with none beside a script that has no spaces."""
    joined = ""
    for sentence in sentences:
        joined += " " if joined and not (_unspaced(joined, -1) or _unspaced(sentence, 0)) else ""
        joined += sentence
    return joined


def _sentences(text: str) -> Iterator[str]:
    begin = 0
    for mark in _END.finditer(text):
        if _ends(text, begin, mark):
            yield text[begin : mark.end()].strip()
            begin = mark.end()
    yield text[begin:].strip()


def _ends(text: str, begin: int, mark: re.Match[str]) -> bool:
    """Whether the sentence that begins at `begin` ends with these marks."""
    after = text[mark.end() : mark.end() + 1]
    if not after or after in _GOES_ON:
        return not after
    signs = mark.group().rstrip(CLOSING)
    if not set(signs) <= set(".!?…") or (signs[-1] == "…" and _LETTER.match(text[mark.start() - 1 : mark.start()])):
        return True
    before = text[begin : mark.start()]
    if _LETTER.match(after):  # Chinese with the marks of English
        return not (signs == "." and before[-1:].isdigit())
    following = text[mark.end() :].lstrip()[:1]
    if not after.isspace() or following.islower():
        return False
    return signs != "." or not _abbreviated(before)


def _abbreviated(before: str) -> bool:
    """Whether the full stop behind this is a part of its last word."""
    words = before.split()
    word = words[-1].lstrip("\"'“‘([") if words else ""
    single = len(word) == 1 and word.isupper() and word != "I"
    numbered = len(words) == 1 and word.isdigit()
    return single or numbered or word.casefold() in ABBREVIATIONS


def _unspaced(text: str, at: int) -> bool:
    """Whether the outermost character that is no quote is a wide one."""
    inside = text.strip(CLOSING + "“‘「『（(")
    return unicodedata.east_asian_width((inside or text)[at]) in "WF"
