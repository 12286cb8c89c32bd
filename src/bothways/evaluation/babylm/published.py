"""Published figures under BabyLM's cap: ten million English words, each read at most ten times.

BLiMP and its supplement are the filtered sets of BabyLM's evaluation pipeline, scored by its own rule. Each figure is
of the source named; none was measured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CAP = (10_000_000, 10)
"""Words, and how often they are read."""
LEFT_TO_RIGHT, BY_MASKS = "left to right", "pseudo-log-likelihood"


@dataclass(frozen=True, slots=True)
class PublishedScore:
    """One model: its weights in words, accuracy in percent on BLiMP and on the supplement, how it was scored, and who
    says so."""

    model: str
    weights: str
    blimp: float
    supplement: str
    scored: str
    source: str


_README = "babylm-eval, strict/README, 2025 baselines"
_DECODERS = "YpLarryWang/attnres4babylm2026, offdev_results.csv"

PUBLISHED = (
    PublishedScore(
        "GPT-2, baseline of 2026", "98M", 65.08, "57.25", LEFT_TO_RIGHT, "babylm-eval, README of 2026-04-17"
    ),
    PublishedScore("GPT-2 Small, baseline of 2025", "about 100M", 67.29, "59.09", LEFT_TO_RIGHT, _README),
    PublishedScore("GPT-BERT, causal-focus", "31M", 71.66, "63.21", LEFT_TO_RIGHT, _README),
    PublishedScore("GPT-BERT, mixed", "31M", 69.62, "61.56", LEFT_TO_RIGHT, _README),
    PublishedScore("GPT-BERT, masked-focus", "31M", 65.22, "59.49", LEFT_TO_RIGHT, _README),
    PublishedScore("GPT-BERT, causal-focus", "31M", 69.07, "64.33", BY_MASKS, _README),
    PublishedScore("GPT-BERT, mixed", "31M", 71.29, "63.30", BY_MASKS, _README),
    PublishedScore("GPT-BERT, masked-focus", "31M", 70.36, "63.71", BY_MASKS, _README),
    PublishedScore("gated decoder 16x512, mean of 3 seeds", "62M", 67.47, "56.5 to 57.4", LEFT_TO_RIGHT, _DECODERS),
    PublishedScore("gated decoder 32x512, mean of 3 seeds", "116M", 68.66, "56.7 to 57.6", LEFT_TO_RIGHT, _DECODERS),
    PublishedScore(
        "LoopLM, mean of two runs", "24M", 65.67, "54.2 and 58.4", LEFT_TO_RIGHT, "card of SecludedCorner/bind1"
    ),
    PublishedScore("ELC encoder, Muon", "about 100M", 62.74, "", BY_MASKS, "card of qbz506/prabhasa-b_ss-0.2"),
)
"""Three seeds of the decoder of 62M weights differ by 0.75 points (standard deviation)."""


def differs(result: Mapping[str, Any]) -> str:
    """What stands between a result of one's own and these figures."""
    words, passes = CAP
    own = result["words"], result["passes"]
    budget = "" if own == CAP else f"they read {words:,} words {passes} times, this model {own[0]:,} {own[1]} times; "
    return (
        f"What differs: {budget}they read BabyLM's corpus, this model your own text; they are scored on all pairs of "
        f"the filtered BLiMP of the evaluation pipeline, this one on the first {result['pairs_each']:,} of each "
        "paradigm that you gave; and seeds alone move BLiMP by 0.75 points (standard deviation)."
    )
