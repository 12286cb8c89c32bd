"""How good an answer is: exact match and F1 as SQuAD's script counts them, and CMRC's where an answer is Chinese.

Rajpurkar et al. 2016 (section 6.1) and its evaluate-v2.0; Cui et al. 2019 (CMRC 2018) and its cmrc2018_evaluate.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher

from bothways.text.characters import HAN

_ARTICLES = re.compile(r"\b(a|an|the)\b")


def exact(predicted: str, golds: Sequence[str]) -> float:
    """1 if the answer equals one of the right ones but for case, marks, articles and space; no gold: none is right."""
    return float(any(_plain(predicted) == _plain(gold) for gold in golds or ("",)))


def f1(predicted: str, golds: Sequence[str]) -> float:
    """The best F1 of words with one of the right answers; of what Chinese answers share in one stretch."""
    return max(_f1(predicted, gold) for gold in golds or ("",))


def _f1(predicted: str, gold: str) -> float:
    chinese = bool(re.search(rf"[{HAN}]", gold))
    ours, theirs = (_mixed(text) if chinese else _plain(text).split() for text in (predicted, gold))
    if not ours or not theirs:
        return float(ours == theirs)
    if chinese:
        shared = SequenceMatcher(None, ours, theirs, autojunk=False).find_longest_match().size
    else:
        shared = (Counter(ours) & Counter(theirs)).total()
    if not shared:
        return 0.0
    precision, recall = shared / len(ours), shared / len(theirs)
    return 2 * precision * recall / (precision + recall)


def _plain(text: str) -> str:
    """In lower case, without marks and articles, single spaces; of Chinese without any space."""
    kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    if re.search(rf"[{HAN}]", kept):
        return "".join(letter for letter in kept if not letter.isspace() and unicodedata.category(letter)[0] != "P")
    return " ".join(_ARTICLES.sub(" ", kept).split())


def _mixed(text: str) -> list[str]:
    """Ideographs one by one, other runs whole, marks left out."""
    words = re.findall(rf"[{HAN}]|[^\W{HAN}]+", text.lower())
    return [word for word in words if word.strip()]
