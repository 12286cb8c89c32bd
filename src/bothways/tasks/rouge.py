"""ROUGE (Lin 2004), by the library rouge-score, with tokens for every script; and the n-grams that it counts.

The tokens are those of rouge-score without stemming, with every letter and digit of Unicode; each ideograph, kana or
letter of another script without spaces is a token by itself. On plain English both are the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from bothways.errors import needs
from bothways.text.characters import HAN, UNSPACED, marks

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

KINDS = ("rouge1", "rouge2", "rougeL")
EXTRA = "writing"
_ALONE = re.compile(f"[{HAN}{UNSPACED}]")


@cache
def _tokens() -> re.Pattern[str]:
    alone = f"[{HAN}{UNSPACED}]"
    return re.compile(rf"{alone}|(?:(?!{alone})(?:[^\W_]|[{marks()}]))+")


def rouge_tokens(text: str) -> list[str]:
    """The words of a text in small letters; of scripts without spaces, the characters."""
    return _tokens().findall(text.lower())


class RougeTokens:
    """`rouge_tokens` as rouge-score asks for it."""

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text."""
        return rouge_tokens(text)


@cache
def scorer() -> RougeScorer:
    """
    Raises:
        MachineError: rouge-score is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise needs("rouge-score", EXTRA) from None
    return RougeScorer(list(KINDS), tokenizer=RougeTokens())


def rouge(references: Sequence[str], prediction: str) -> dict[str, float]:
    """{"rouge1", "rouge2", "rougeL": F1}, each from 0 to 1, and that of the reference which gives it the most.

    Raises:
        MachineError: rouge-score is not installed.
    """
    found: Any = scorer().score_multi(references, prediction)
    return {kind: float(found[kind].fmeasure) for kind in KINDS}


def ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each run of n tokens stands there."""
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


def ngram_f1(reference: Counter[tuple[str, ...]], prediction: Counter[tuple[str, ...]]) -> float:
    """ROUGE-N's F1 of counted n-grams, to the last bit as rouge-score has it."""
    hits = sum(min(count, prediction[gram]) for gram, count in reference.items())
    precision, recall = hits / max(prediction.total(), 1), hits / max(reference.total(), 1)
    return 2 * precision * recall / (precision + recall) if hits else 0.0


def unspaced(tokens: Sequence[str]) -> bool:
    """Whether most of them are characters of a script without spaces."""
    return 2 * sum(bool(_ALONE.match(token)) for token in tokens) > len(tokens)
