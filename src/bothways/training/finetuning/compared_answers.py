"""The answers of one file of preferences: as samples, good or bad, and what the reference says of each.

Letters: E examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from bothways.batch import Sample
from bothways.tasks.reading import EncodedExample
from bothways.tasks.task import Example
from bothways.tasks.text2text import laid
from bothways.training.finetuning.answers import drawn

if TYPE_CHECKING:
    from bothways.training.finetuning.setup import FinetuneRun

SIGN, REFERENCE, BASE = range(3)
"""The numbers beside an answer: 1 if it is good, -1 if bad; its log-likelihood under the reference; what KTO compares
with."""


@dataclass(slots=True)
class ComparedAnswers:
    """The examples of one file.

    parts   [E] of each example its answers, as the objective reads them
    signs   [E] of each of them
    others  [E] of KTO: the answer of another example to this prompt; else none
    known   [E] the log-likelihoods of `parts` under the reference
    others_known  [E] the same of `others`
    """

    examples: list[Example]
    parts: list[list[Sample]]
    signs: list[list[float]]
    others: list[Sample] = field(default_factory=list)
    known: list[np.ndarray] = field(default_factory=list)
    others_known: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(cls, run: FinetuneRun, encoded: Sequence[EncodedExample]) -> ComparedAnswers:
        """What a file holds."""
        parts = [[drawn(run, one) for one in some] for _, some in encoded]
        signs = [[1.0 if answer.good else -1.0 for answer in example.gold] for example, _ in encoded]
        others = mismatched(run, encoded) if run.config.loss == "kto" else []
        return cls([example for example, _ in encoded], parts, signs, others)

    @property
    def samples(self) -> list[Sample]:
        """All that the reference is asked about."""
        return [*(one for some in self.parts for one in some), *self.others]

    def know(self, found: np.ndarray) -> None:
        """Takes what the reference says of `samples`."""
        ends = np.cumsum([len(some) for some in self.parts])
        *self.known, self.others_known = np.split(found, ends)


def mismatched(run: FinetuneRun, encoded: Sequence[EncodedExample]) -> list[Sample]:
    """Each prompt with the first answer of the next example that has another prompt, round in a circle."""
    found = []
    for i, (example, (own, *_)) in enumerate(encoded):
        order = chain(range(i + 1, len(encoded)), range(i))
        j = next((j for j in order if encoded[j][0].texts != example.texts), (i + 1) % len(encoded))
        (prompt, _), (_, answer) = (_sides(one) for one in (own, encoded[j][1][0]))
        found.append(drawn(run, laid(prompt.tolist(), answer.tolist(), name=run.task.name)))
    return found


def _sides(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of the prompt and those of the answer."""
    behind = np.asarray(sample.layout.segment) > 0
    return sample.tokens[~behind], sample.tokens[behind]
