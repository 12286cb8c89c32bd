"""Several models, the same probes: figures with intervals, and differences that are more than chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from bothways.analysis.heldout import HeldOut, bits_per_byte
from bothways.analysis.probes import Probe, Records, cloze, minimal_pairs, similarity
from bothways.analysis.significance import LIKELY, holm, p_value, standard_error
from bothways.corpus.ngrams import NAMES
from bothways.errors import UsageError
from bothways.inference.loading import Loaded

VERSION = 1
SURE = 0.05  # p below it is more than chance
PROBES: dict[str, tuple[Callable[[Path], Any], Callable[[Loaded, Any], Iterator[Probe]]]] = {
    "pairs": (Records.read, minimal_pairs),
    "facts": (Records.read, cloze),
    "words": (Records.read, similarity),
    "held-out": (HeldOut.read, bits_per_byte),
}
"""How each file is read, and asked about."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One model on one probe, or on one group of its items.

    half  of the 95 % interval
    """

    model: str
    probe: str
    group: str | None
    figure: float
    half: float
    items: int
    ties: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Two models over the same items.

    p  two-sided, corrected for all differences of the command (Holm)
    """

    one: str
    other: str
    probe: str
    group: str | None
    difference: float
    half: float
    p: float


@dataclass(frozen=True, slots=True)
class Probed:
    """All that was found; `silent` holds who was not taught what a file asks: (model, file)."""

    standings: Sequence[Standing]
    differences: Sequence[Difference]
    silent: Sequence[tuple[str, str]] = ()

    def as_json(self) -> dict[str, Any]:
        from dataclasses import asdict

        return {
            "version": VERSION,
            "standings": [asdict(one) for one in self.standings],
            "differences": [asdict(one) for one in self.differences],
            "silent": [list(pair) for pair in self.silent],
        }


def probe(models: dict[str, Loaded], files: dict[str, Sequence[Path]]) -> Probed:
    """Asks every model.

    Args:
        models: by name.
        files: {name in PROBES: files of records; of "held-out", folders of shards}.

    Raises:
        DataError: a file or record that cannot be read.
        UsageError: nothing to ask, or nothing that these models were taught.
    """
    asked = [(PROBES[name][0](path), PROBES[name][1]) for name, paths in files.items() for path in paths]
    if not asked:
        raise UsageError(f"say what to ask: {', '.join(f'--{name} FILE' for name in PROBES)}")
    found = {
        model: {(str(some.path), one.name): one for some, ask in asked for one in ask(loaded, some)}
        for model, loaded in models.items()
    }
    if not any(found.values()):
        raise UsageError("these models were taught nothing that these files ask")
    for some, _ in asked:
        if isinstance(some, HeldOut):
            for gram, one in some.counting().items():
                found.setdefault(gram, {})[str(some.path), one.name] = one
    standings = [
        _standing(model, one, group)
        for model, probes in found.items()
        for one in probes.values()
        for group in (None, *_groups(one))
    ]
    silent = [
        (model, str(some.path))
        for model, probes in found.items()
        for some, _ in asked
        if model in models
        if not any(path == str(some.path) for path, _ in probes)
    ]
    return Probed(standings, list(_differences(found)), silent)


def _groups(one: Probe) -> list[str]:
    """In which items fall apart; none where there is one only."""
    groups = sorted({*one.group.tolist()})
    return groups if len(groups) > 1 else []


def _standing(model: str, whole: Probe, group: str | None) -> Standing:
    one = whole.of(group)
    half = LIKELY * one.error
    return Standing(model, one.name, group, one.figure, half, len(one.value), one.ties, one.left_out)


def _differences(found: dict[str, dict[tuple[str, str], Probe]]) -> Iterator[Difference]:
    """Of all pairs of models where both were asked the same items."""
    raw: list[Difference] = []
    for one, other in combinations(found, 2):
        if {one, other} <= set(NAMES):
            continue
        for key in found[one].keys() & found[other].keys():
            a, b = found[one][key], found[other][key]
            if not np.array_equal(a.group, b.group):
                continue  # another tokenizer can represent other items
            for group in (None, *_groups(a)):
                mine, its = a.of(group), b.of(group)
                error = standard_error([mine.value, its.value], mine.gold, mine.weight)
                p = p_value(mine.value, its.value, mine.gold, mine.weight)
                difference = mine.figure - its.figure
                raw.append(Difference(one, other, a.name, group, difference, LIKELY * error, p))
    raw.sort(key=lambda found: (found.one, found.other, found.probe, found.group or ""))
    for found_one, p in zip(raw, holm([found.p for found in raw]), strict=True):
        yield replace(found_one, p=p)
