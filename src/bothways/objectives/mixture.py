"""Objectives made of others: a mixture draws one for every row, a schedule has one after another ("causal -> mlm"), and
rows of pairs may have another than texts.

Under fixed compute a causal phase and then a masked one is the best recipe for an encoder that is known
(Gisserot-Boukhlef et al. 2025, arXiv:2507.00994).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, chain
from typing import TYPE_CHECKING

import numpy as np

from bothways.batch import Row, Target
from bothways.errors import UsageError
from bothways.model import Abilities
from bothways.objectives.objective import About, Corrupted, Corruption, Objective
from bothways.visibility import Layout

if TYPE_CHECKING:
    from bothways.model import PartFactory

Members = Sequence[tuple[Objective, float]]


def mixture(members: Mapping[Objective, float], *, name: str, about: About | None = None) -> Objective:
    """An objective that draws one of `members` for every row, from the row's own stream.

    Weights are normalised. Losses are reported under the members' names; members of one name are reported as one.

    Raises:
        UsageError: no member, a weight that is not above 0, or members that cannot share a batch: with different
            rules or losses, or with different networks under one name.
    """
    drawn = tuple(members.items())
    return _joined(
        drawn,
        partial(_draw, tuple(members), _ends(drawn, "a mixture needs members with weights")),
        name=name,
        about=about,
    )


def schedule(phases: Members, *, name: str) -> Objective:
    """An objective that is each of `phases` in turn, for its share of the steps; shares are normalised.

    Which phase a row belongs to is a function of the progress alone. A member's own schedule of rates runs from the
    start of its phase to its end. The saved model is what the last phase teaches.

    Raises:
        UsageError: a share that is not above 0, or phases with different rules, losses or networks.
    """
    ends, last = _ends(phases, "a schedule needs phases with shares"), phases[-1][0].about
    about = replace(
        _about([phase for phase, _ in phases]),
        summary=f"one after another: {name}",
        teaches=last.teaches,
        bound=last.bound,
    )
    corrupt = partial(_in_turn, tuple(phase for phase, _ in phases), ends)
    return replace(_joined(phases, corrupt, name=name, about=about), phases=ends)


def by_kind(*, pairs: Objective, texts: Objective, name: str, about: About) -> Objective:
    """One objective for rows of pairs, another for all other rows.

    Its members are reported with half of the rows each: how many they are, the shards decide.

    Raises:
        UsageError: the two cannot share a batch.
    """
    both = mixture({pairs: 1, texts: 1}, name=name, about=about)
    return replace(both, corrupt=partial(corrupt_by_kind, pairs, texts))


def corrupt_by_kind(
    pairs: Objective, texts: Objective, row: Row, rng: np.random.Generator, progress: float
) -> Corrupted:
    """A row of pairs by the one, any other by the other."""
    return _by(texts if row.part is None else pairs, row, rng, progress)


def _ends(members: Members, needed: str) -> tuple[float, ...]:
    """Where the share of each member ends, 0 to 1.

    Raises:
        UsageError: no member, or one whose share is not above 0.
    """
    sizes = [share for _, share in members]
    if not sizes or min(sizes) <= 0:
        raise UsageError(f"{needed} above 0, got {sizes}")
    return (*(end / sum(sizes) for end in accumulate(sizes[:-1])), 1.0)


def _joined(members: Members, corrupt: Corruption, *, name: str, about: About | None) -> Objective:
    """An objective whose rows are its members', each with its share; `corrupt` tells by which of them (`by`).

    Raises:
        UsageError: members that cannot share a batch.
    """
    objectives = [member for member, _ in members]
    first, *others = objectives
    for other in others:
        _agree(first, other)
    total = sum(share for _, share in members)
    return Objective(
        name=name,
        corrupt=corrupt,
        arrange=_arrange,
        predict=_predict,
        about=about or replace(_about(objectives), summary=f"drawn for every row: {name}"),
        rule=first.rule,
        loss=first.loss,
        heads=_merged(member.heads for member in objectives),
        parts=_merged(member.parts for member in objectives),
        segments=max(member.segments for member in objectives),
        members=tuple((member, share / total) for member, share in members),
        networks=first.networks,
        flops=first.flops,
    )


def _agree(first: Objective, other: Objective) -> None:
    if first.two_sided != other.two_sided:
        raise UsageError(
            f"the members of a mixture share a batch and so one kind of model, but one of {first.name!r} and "
            f"{other.name!r} is for an encoder-decoder and the other is not; train them in separate runs"
        )
    if first.rule.name != other.rule.name:
        raise UsageError(
            f"the members of a mixture share a batch and so one rule of visibility, but {first.name!r} has "
            f"{first.rule.name} and {other.name!r} has {other.rule.name}; train them in separate runs"
        )
    if first.loss is not other.loss:
        raise UsageError(
            f"the members of a mixture share a batch and so one loss, but {first.name!r} and {other.name!r} bring "
            "different ones; train them in separate runs"
        )


def _merged(networks: Iterable[Mapping[str, PartFactory]]) -> dict[str, PartFactory]:
    merged: dict[str, PartFactory] = {}
    for name, factory in chain(*(some.items() for some in networks)):
        if merged.setdefault(name, factory) is not factory:
            raise UsageError(f"two members of a mixture bring different networks under the name {name!r}; rename one")
    return merged


def _by(member: Objective, row: Row, rng: np.random.Generator, progress: float) -> Corrupted:
    corrupted = member.corrupt(row, rng, progress)
    return replace(corrupted, by=corrupted.by or member)


def _draw(
    members: Sequence[Objective], ends: Sequence[float], row: Row, rng: np.random.Generator, progress: float
) -> Corrupted:
    return _by(members[bisect_right(ends, rng.random())], row, rng, progress)


def _in_turn(
    objectives: Sequence[Objective], ends: Sequence[float], row: Row, rng: np.random.Generator, progress: float
) -> Corrupted:
    number = min(bisect_right(ends, progress), len(ends) - 1)
    start = ends[number - 1] if number else 0.0
    return _by(objectives[number], row, rng, (progress - start) / (ends[number] - start))


def _arrange(corrupted: Corrupted) -> Layout:
    assert corrupted.by is not None
    return corrupted.by.arrange(corrupted)


def _predict(corrupted: Corrupted, layout: Layout) -> tuple[Target, ...]:
    assert corrupted.by is not None
    return corrupted.by.predict(corrupted, layout)


def _about(members: Sequence[Objective]) -> About:
    """Of all members together."""
    abouts = [member.about for member in members]
    taught = [about.teaches for about in abouts]

    def joined(field: str) -> str:
        return "; ".join(dict.fromkeys(line for about in abouts if (line := getattr(about, field))))

    return About(
        summary=joined("summary"),
        paper=joined("paper"),
        teaches=Abilities(
            faces=tuple(face for face in ("encoder", "decoder") if any(face in one.faces for one in taught)),
            hidden=max((one.hidden for one in taught if one.hidden), default=None),  # "in place" before "before"
            decoding={way: size for one in taught for way, size in one.decoding.items()},
            reads=next((one.reads for one in taught if one.reads), None),
        ),
        needs=joined("needs"),
        differs=joined("differs"),
        requires=frozenset().union(*(about.requires for about in abouts)),
        pairs=joined("pairs"),
    )
