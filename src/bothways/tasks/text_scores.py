"""How good written texts are, each figure by the library that defines it: rouge-score and sacrebleu (install extra
`writing`); what takes long is counted once, so that any draw of the examples is scored in a moment.

Letters: E examples.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np

from bothways.errors import needs
from bothways.tasks.rouge import EXTRA, KINDS, rouge_tokens, scorer
from bothways.text.characters import HAN

KANA = "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f"
COPIED = 4


def check_installed() -> None:
    """
    Raises:
        MachineError: the extra `writing` is not installed.
    """
    for package, name in {"rouge_score": "rouge-score", "sacrebleu": "sacrebleu"}.items():
        if find_spec(package) is None:
            raise needs(name, EXTRA)


def same_text(text: str, references: Iterable[str]) -> bool:
    """Whether a text is one of the references, white space apart, which WordPiece puts before every sign."""
    return "".join(text.split()) in ("".join(one.split()) for one in references)


def bleu_tokenizer(texts: Iterable[str]) -> str:
    """What sacrebleu calls the words of texts: "zh" where there are ideographs, "char" where there is kana too."""
    whole = "".join(texts)
    if re.search(f"[{KANA}]", whole):
        return "char"
    return "zh" if re.search(f"[{HAN}]", whole) else "13a"


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of n words of every text, as numbers: all laid end to end [N], and how many each text has [E]."""

    numbers: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]], size: int) -> Runs:
        """Those of texts of words."""
        every = [tuple(text[i : i + size]) for text in texts for i in range(len(text) - size + 1)]
        known = {run: number for number, run in enumerate(dict.fromkeys(every))}
        counts = [max(0, len(text) - size + 1) for text in texts]
        return cls(np.array([known[run] for run in every], dtype=np.int64), np.array(counts, dtype=np.int64))

    def distinct(self, drawn: np.ndarray) -> float:
        """The share of the runs of some texts that are different ones (Li et al. 2016, section 5)."""
        ends = np.cumsum(self.counts)
        parts = [self.numbers[ends[i] - self.counts[i] : ends[i]] for i in drawn.tolist()]
        every = np.concatenate([self.numbers[:0], *parts])
        return len(np.unique(every)) / max(1, len(every))


class TextScores:
    """Scores of texts against their references, of which the best counts, and against their sources."""

    def __init__(self, texts: Sequence[str], references: Sequence[Sequence[str]], sources: Sequence[str]) -> None:
        """
        Raises:
            MachineError: the extra `writing` is not installed.
        """
        check_installed()
        self._texts, self._references = texts, references
        self._words = [rouge_tokens(text) for text in texts]
        self._copied, self._runs = _copied(self._words, [rouge_tokens(source) for source in sources])

    def __call__(self, drawn: Sequence[int]) -> dict[str, float]:
        """Of the examples of these numbers, of which one may stand there several times.

        rouge1, rouge2, rougeL, exact   means of the examples' best, 0 to 1
        bleu, chrf                         of the corpus, 0 to 100
        distinct_1, distinct_2             different words, and pairs of words, in their share of all
        copied                             the share of runs of four words that stand in the source too
        words                              of a text, in the mean
        """
        some = np.asarray(drawn, dtype=np.int64)
        rouge = {name: float(each[some].mean()) for name, each in self._rouge.items()}
        return {
            **rouge,
            **{name: self._corpus(name, some) for name in ("bleu", "chrf")},
            "exact": float(self._exact[some].mean()),
            "distinct_1": self._distinct[0].distinct(some),
            "distinct_2": self._distinct[1].distinct(some),
            "copied": float(self._copied[some].sum() / max(1, self._runs[some].sum())),
            "words": float(np.mean([len(self._words[i]) for i in some.tolist()])),
        }

    def one(self, metric: str, drawn: Sequence[int]) -> float:
        """One of ROUGE's, BLEU and chrF, of the examples of these numbers."""
        some = np.asarray(drawn, dtype=np.int64)
        return float(self._rouge[metric][some].mean()) if metric in KINDS else self._corpus(metric, some)

    @property
    def rouge_of_each(self) -> np.ndarray:
        """[E] ROUGE-L of each."""
        return self._rouge["rougeL"]

    @cached_property
    def _distinct(self) -> list[Runs]:
        return [Runs.of(self._words, size) for size in (1, 2)]

    @cached_property
    def _exact(self) -> np.ndarray:
        pairs = zip(self._texts, self._references, strict=True)
        return np.array([same_text(text, some) for text, some in pairs], dtype=np.float64)

    @cached_property
    def _rouge(self) -> dict[str, np.ndarray]:
        score = scorer().score_multi
        found: list[Any] = [score(list(some), one) for some, one in zip(self._references, self._texts, strict=True)]
        return {kind: np.array([one[kind].fmeasure for one in found]) for kind in KINDS}

    @cached_property
    def _metrics(self) -> dict[str, tuple[Any, np.ndarray]]:
        """{name: (sacrebleu's metric, the counts of each example [E, ...])}: what it makes a corpus' score from."""
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF

        told = bleu_tokenizer(text for some in self._references for text in some)
        most = max(map(len, self._references))
        streams: list[Any] = [[some[i] if i < len(some) else None for some in self._references] for i in range(most)]
        found = {}
        for name, metric in {"bleu": BLEU(tokenize=told, force=True), "chrf": CHRF()}.items():
            counts = metric._extract_corpus_statistics(self._texts, streams)
            found[name] = metric, np.array(counts)
        return found

    def _corpus(self, name: str, some: np.ndarray) -> float:
        metric, counts = self._metrics[name]
        return float(metric._aggregate_and_compute([counts[some].sum(0).tolist()]).score)


def _copied(texts: Sequence[Sequence[str]], sources: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """[E] how many runs of COPIED words of each text stand in its source, and how many it has."""
    copied, every = [], []
    for text, source in zip(texts, sources, strict=True):
        there = {tuple(source[i : i + COPIED]) for i in range(len(source) - COPIED + 1)}
        runs = [tuple(text[i : i + COPIED]) for i in range(len(text) - COPIED + 1)]
        copied.append(sum(run in there for run in runs))
        every.append(len(runs))
    return np.array(copied, dtype=np.float64), np.array(every, dtype=np.float64)
