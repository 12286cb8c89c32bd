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
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bothways.batch import Batch, Losses, Row, Target
from bothways.errors import UsageError
from bothways.model import Abilities, Model
from bothways.model.losses import plain_loss
from bothways.objectives.objective import About, Corrupted, Corruption, Loss, Objective
from bothways.visibility import Layout

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
Members = Sequence[tuple[Objective, float]]


def mixture(members: Mapping[Objective, float], *, name: str, about: About | None = None) -> Objective:
    """An objective that draws one of `members` for every row, from the row's own stream.

    Weights are normalised. Losses are reported under the members' names; members of one name are reported as one.

    Raises:
        UsageError: no member, a weight that is not above 0, or members that cannot share a batch: with different
            rules or losses, or with different networks under one name.
    """
    drawn = tuple(members.items())
    ends = _ends(drawn, "a mixture needs members with weights")
    joined = _joined(drawn, partial(_draw, tuple(members), ends), name=name, about=about)
    first, *others = members
    for other in others:
        if not _same(first.loss, other.loss):
            raise UsageError(
                f"the members of a mixture share a batch and so one loss, but {first.name!r} and {other.name!r} bring "
                f'different ones; train one after the other: "{first.name} -> {other.name}"'
            )
    return replace(joined, loss=first.loss, networks=first.networks, flops=first.flops)


def schedule(phases: Members, *, name: str) -> Objective:
    """An objective that is each of `phases` in turn, for its share of the steps; shares are normalised.

    Which phase a row belongs to is a function of the progress alone. A member's own schedule of rates runs from the
    start of its phase to its end. The saved model is what the last phase teaches. Heads and parts that a phase does not
    bring rest while it lasts: its loss does not reach them.

    Raises:
        UsageError: a share that is not above 0, phases with different rules or with different networks under one name,
            or one before the last that saves its networks in a way of its own.
    """
    ends, last = _ends(phases, "a schedule needs phases with shares"), phases[-1][0].about
    about = replace(
        _about([phase for phase, _ in phases]),
        summary=f"one after another: {name}",
        teaches=last.teaches,
        bound=last.bound,
    )
    objectives, final = tuple(phase for phase, _ in phases), phases[-1][0]
    joined = _joined(phases, partial(_in_turn, objectives, ends), name=name, about=about)
    for phase in objectives:
        if phase.networks and not _same(phase.networks, final.networks):
            raise UsageError(
                f"{phase.name!r} trains two networks that are saved in a way of their own, and {final.name!r} does not "
                f"save them so: let {phase.name!r} be the last phase"
            )
    losses = tuple(phase.loss for phase in objectives)
    loss = partial(_loss_in_turn, losses, ends) if any(losses) else None
    return replace(joined, phases=ends, loss=loss, networks=final.networks)


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
        heads=_merged((member.heads for member in objectives), "networks"),
        parts=_merged((member.parts for member in objectives), "networks"),
        rates=_merged((member.rates for member in objectives), "rates"),
        segments=max(member.segments for member in objectives),
        members=tuple((member, share / total) for member, share in members),
    )


def _agree(first: Objective, other: Objective) -> None:
    if first.encoder_decoder != other.encoder_decoder:
        raise UsageError(
            f"the members of a mixture share a batch and so one kind of model, but one of {first.name!r} and "
            f"{other.name!r} is for an encoder-decoder and the other is not; train them in separate runs"
        )
    if first.rule.name != other.rule.name:
        raise UsageError(
            f"the members of a mixture share a batch and so one rule of visibility, but {first.name!r} has "
            f"{first.rule.name} and {other.name!r} has {other.rule.name}; train them in separate runs"
        )


def _merged(named: Iterable[Mapping[str, T]], what: str) -> dict[str, T]:
    merged: dict[str, T] = {}
    for name, one in chain(*(some.items() for some in named)):
        if not _same(merged.setdefault(name, one), one):
            raise UsageError(
                f"two members of a mixture or a schedule bring different {what} under the name {name!r}; rename one, "
                "or give both the same arguments"
            )
    return merged


def _same(one: object, other: object) -> bool:
    """Whether they are one, or one function with the same arguments."""
    if isinstance(one, partial) and isinstance(other, partial):
        return (one.func, one.args, one.keywords) == (other.func, other.args, other.keywords)
    return one == other


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
    number, within = _phase(ends, progress)
    return _by(objectives[number], row, rng, within)


def _phase(ends: Sequence[float], progress: float) -> tuple[int, float]:
    """The number of the phase, and the progress within it."""
    number = min(bisect_right(ends, progress), len(ends) - 1)
    start = ends[number - 1] if number else 0.0
    return number, (progress - start) / (ends[number] - start)


def _loss_in_turn(
    losses: Sequence[Loss | None], ends: Sequence[float], model: Model, batch: Batch, random: torch.Generator
) -> Losses:
    """That of the phase at the batch's progress."""
    number, within = _phase(ends, batch.progress)
    own = losses[number]
    return own(model, replace(batch, progress=within), random) if own else plain_loss(model, batch)


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
