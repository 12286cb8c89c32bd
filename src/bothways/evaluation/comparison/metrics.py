"""What every finished model is measured by, item by item, so that models can be compared on the same items.

Letters: N items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from bothways.batch import Batch, Row
from bothways.corpus import Shards
from bothways.errors import DataError
from bothways.evaluation.comparison.eval_data import Pairs
from bothways.evaluation.linear_probe import linear_probe
from bothways.evaluation.probes import CAUSAL, PSEUDO_LIKELIHOOD, judged_pairs
from bothways.inference.language_model import LanguageModel
from bothways.objectives import Objective, build
from bothways.objectives.predictions import from_before
from bothways.tasks.task import Example
from bothways.training.evaluate import NATS_IN_A_BIT, answers

ROWS_AT_ONCE = 32
DRAWS = 8  # of each row, for a bound: with one draw its error is several times the differences looked for


@dataclass(frozen=True, slots=True)
class Metric:
    """A name, a short one for the head of a column, what it means in a sentence, and whether less or more is better."""

    name: str
    short: str
    about: str
    better: Literal["less", "more"] = "more"


BITS = Metric(
    "bits per byte",
    "bits/byte",
    "The bits that held-out text costs, every token predicted from those before it; a bound (≤) is an upper one.",
    "less",
)
NEXT = Metric("next-word accuracy", "next word", "Tokens of held-out text predicted right from those before them.")
FILL = Metric(
    "fill accuracy", "hidden word", "Tokens of held-out text predicted right when 15 % are hidden, from all others."
)
PAIRS = Metric(
    "minimal pairs, left to right",
    "pairs →",
    "Of two sentences the good one is given the higher probability; a tie is a half. An item is a paradigm, where "
    "there are several.",
)
PSEUDO = Metric(
    "minimal pairs, pseudo-log-likelihood",
    "pairs ↔",
    "The same by pseudo-log-likelihood, every token hidden alone (Salazar et al. 2020); a tie is a half.",
)


@dataclass(frozen=True, slots=True)
class ScoredItems:
    """What one model got, item by item: the figure is sum(value) / sum(weight).

    value, weight  [N] float64
    bound          the value is an upper bound of what is meant
    ties           items that were neither right nor wrong
    """

    value: np.ndarray
    weight: np.ndarray
    bound: bool = False
    ties: int = 0

    @property
    def figure(self) -> float:
        """The metric over all items."""
        return float(self.value.sum() / self.weight.sum())

    @classmethod
    def right(cls, value: np.ndarray, *, ties: int = 0) -> ScoredItems:
        """Items that are right (1), wrong (0) or tied (a half), each of weight 1."""
        return cls(value.astype(np.float64), np.ones(len(value)), ties=ties)

    def summed(self, of: Sequence[str]) -> ScoredItems:
        """Those of one name as one item."""
        at = np.unique(np.asarray(of), return_inverse=True)[1]
        return replace(self, value=np.bincount(at, self.value), weight=np.bincount(at, self.weight))


def held_out(
    loaded: LanguageModel, objective: Objective, shards: Shards, rows: Sequence[Row]
) -> Iterator[tuple[Metric, ScoredItems]]:
    """Bits per byte, next words and hidden words, as far as the objective taught them; an item is a row. A pair is one
    text, as it is for the n-gram baselines."""
    rows = [row.as_text for row in rows]
    size = shards.validation.bytes_a_prediction
    if "decoder" in objective.abilities.faces:
        following = _row_sums(loaded, build("causal", shards.vocabulary), rows)
        yield BITS, ScoredItems(following[:, 1] / NATS_IN_A_BIT, following[:, 0] * size)
        yield NEXT, ScoredItems(following[:, 2], following[:, 0])
    elif objective.about.bound:
        predicted = np.array([np.count_nonzero(row.following) for row in rows])
        bound = np.mean([_row_sums(loaded, objective, rows, draw=draw)[:, 3] for draw in range(DRAWS)], axis=0)
        yield BITS, ScoredItems(bound / NATS_IN_A_BIT, predicted * size, bound=True)
    if objective.abilities.hidden is not None:
        hidden = build("mlm(replace=all-mask)", shards.vocabulary)
        if objective.abilities.hidden == "before":
            hidden = replace(hidden, predict=from_before)
        filled = _row_sums(loaded, hidden, rows)
        yield FILL, ScoredItems(filled[:, 2], filled[:, 0])


def _row_sums(loaded: LanguageModel, objective: Objective, rows: Sequence[Row], *, draw: int = 0) -> np.ndarray:
    """[N, 4] for each row: tokens that are predicted, their nats, how many are right, their nats by their weights."""
    sums = np.zeros((len(rows), 4))
    model = loaded.engine.model
    for start in range(0, len(rows), ROWS_AT_ONCE):
        samples = [
            objective.sample(row, np.random.default_rng((draw, start + i)), 1.0)
            for i, row in enumerate(rows[start : start + ROWS_AT_ONCE])
        ]
        batch = Batch.stack(samples).to(loaded.engine.device)
        for target, nats, right in answers(model, batch):
            at, weight = (torch.as_tensor(column).cpu().numpy() for column in (target.at, target.weight))
            own = nats.double().cpu().numpy()
            columns = np.stack([np.ones_like(own), own, right.cpu().numpy(), own * weight], axis=1)
            np.add.at(sums, start + at // batch.tokens.shape[1], columns)
    return sums


def minimal_pairs(loaded: LanguageModel, pairs: Pairs) -> Iterator[tuple[Metric, ScoredItems]]:
    """By each scoring that the objective taught. An item is a paradigm, since its pairs are made from one template and
    right or wrong together; where there is a single one, or none, it is a pair.

    Raises:
        DataError: no pair that the tokenizer can represent.
    """
    kept, found = judged_pairs(loaded, pairs.good, pairs.bad)
    if not len(kept):
        raise DataError(f"expected pairs that the tokenizer can represent, got none of {len(pairs.good)}")
    names = [pairs.paradigm[i] or f"pair {i}" for i in kept.tolist()]
    for metric, scoring in ((PAIRS, CAUSAL), (PSEUDO, PSEUDO_LIKELIHOOD)):
        if scoring in found:
            items = ScoredItems.right(found[scoring], ties=int((found[scoring] == 0.5).sum()))
            yield metric, items.summed(names) if len({*pairs.paradigm}) > 1 else items


def probe_metric(name: str) -> Metric:
    """Of a linear probe."""
    about = "Test items classified right by a linear classifier over the frozen body's mean state."
    return Metric(f"probe {name}", name, about)


def probed(loaded: LanguageModel, sides: Sequence[Sequence[Example]]) -> ScoredItems:
    """A linear probe over mean states [N, D]; of two texts u and v, [N, 4D]: u, v, |u - v|, u * v (Conneau et al.
    2017)."""

    def features(side: Sequence[Example]) -> np.ndarray:
        first, *others = (loaded.embed(list(texts)) for texts in zip(*(example.texts for example in side), strict=True))
        return np.concatenate(
            [first, *(part for other in others for part in (other, np.abs(first - other), first * other))], axis=1
        )

    return _classified((features(sides[0]), features(sides[1])), sides, strengths=(0.001, 0.01, 0.1, 1.0))


def counted(shards: Shards, sides: Sequence[Sequence[Example]]) -> ScoredItems:
    """The same probe over TF-IDF of the tokenizer's tokens and pairs of tokens: what no body is needed for."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    def tokens(text: str) -> list[str]:
        return [str(token) for token in shards.tokenizer.encode(text)]

    first = TfidfVectorizer(tokenizer=tokens, token_pattern=None, lowercase=False, ngram_range=(1, 2))
    texts = [["\n".join(example.texts) for example in side] for side in sides]
    return _classified((texts[0], texts[1]), sides, strengths=(0.1, 1.0, 10.0, 100.0), first=first)


def _classified(inputs: tuple[Any, Any], sides: Sequence[Sequence[Example]], **options: Any) -> ScoredItems:
    train, test = ([example.gold for example in side] for side in sides)
    return ScoredItems.right(linear_probe(inputs, (train, test), **options))
