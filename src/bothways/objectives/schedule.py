"""Objectives one after another: "causal -> mlm".

Under fixed compute a causal phase and then a masked one is the best recipe for an encoder that is known
(Gisserot-Boukhlef et al. 2025, arXiv:2507.00994).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate

import numpy as np

from bothways.batch import Row
from bothways.errors import UsageError
from bothways.objectives.objective import Corrupted, Objective, joined


def schedule(phases: Sequence[tuple[Objective, float]], *, name: str) -> Objective:
    """An objective that is each of `phases` in turn, for its share of the steps; shares are normalised.

    Which phase a row belongs to is a function of the progress alone. A member's own schedule of rates runs from the
    start of its phase to its end. The saved model is what the last phase teaches.

    Raises:
        UsageError: a share that is not above 0, or phases with different rules, losses or networks.
    """
    if not phases or min(share for _, share in phases) <= 0:
        raise UsageError(f"a schedule needs phases with shares above 0, got {[share for _, share in phases]}")
    total = sum(share for _, share in phases)
    ends = (*(end / total for end in accumulate(share for _, share in phases[:-1])), 1.0)
    last = phases[-1][0].about
    objectives = tuple(objective for objective, _ in phases)
    about = replace(
        last,
        summary=f"one after another: {name}",
        paper="; ".join(dict.fromkeys(objective.about.paper for objective in objectives)),
        needs="; ".join(dict.fromkeys(objective.about.needs for objective in objectives)),
    )
    corrupt = partial(_in_turn, objectives, ends)
    return replace(joined(phases, corrupt=corrupt, name=name, about=about), phases=ends)


def _in_turn(
    objectives: Sequence[Objective], ends: Sequence[float], row: Row, rng: np.random.Generator, progress: float
) -> Corrupted:
    number = min(bisect_right(ends, progress), len(ends) - 1)
    start = ends[number - 1] if number else 0.0
    member = objectives[number]
    corrupted = member.corrupt(row, rng, (progress - start) / (ends[number] - start))
    return replace(corrupted, by=corrupted.by or member)
