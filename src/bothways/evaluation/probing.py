"""Several models, the same probes: figures with intervals, and differences that are more than chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bothways.arguments import checked, shown
from bothways.corpus.ngrams import NAMES
from bothways.errors import BothwaysError, UsageError
from bothways.evaluation.held_out import HeldOut, bits_per_byte
from bothways.evaluation.probes import Probe, Records, cloze, minimal_pairs, similarity
from bothways.frames import data_frame
from bothways.inference import LanguageModel, load
from bothways.machine import device_of
from bothways.statistics import estimate, holm, sign_test

if TYPE_CHECKING:
    import pandas

VERSION = 2
SIGNIFICANT = 0.05  # p below it is more than chance
Place = str | Path
Paths = Place | Sequence[Place]
Measure = Callable[[LanguageModel, Any], Iterator[Probe]]
Found = dict[str, dict[tuple[str, str], Probe]]
"""{model: {(file, probe): what it got}}"""
PROBES: dict[str, tuple[Callable[[Path], Any], Measure]] = {
    "pairs": (Records.read, minimal_pairs),
    "facts": (Records.read, cloze),
    "words": (Records.read, similarity),
    "held-out": (HeldOut.read, bits_per_byte),
}
"""How each file is read, and how a model is probed with it."""


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """One model on one probe of a file, or on one group of its items; low and high end the 95 % interval.

    templates  from which the items were made; 0 where unknown
    """

    model: str
    probe: str
    file: str
    group: str | None
    figure: float
    low: float
    high: float
    items: int
    templates: int
    ties: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Two models over the items that both have; low and high end the 95 % interval.

    p  two-sided, corrected for all differences of the command (Holm)
    """

    one: str
    other: str
    probe: str
    file: str
    group: str | None
    items: int
    difference: float
    low: float
    high: float
    p: float

    @property
    def chance(self) -> str:
        """p as text."""
        return f"{self.p:.2g}" if self.p > 1e-300 else "< 1e-300"


@dataclass(frozen=True, slots=True)
class Failed:
    """What could not be measured, and why: a model with a file; a file with any model (""); a model with any ("")."""

    model: str
    file: str
    error: BothwaysError

    def __str__(self) -> str:
        return f"{self.model}: {self.error}" if self.model else str(self.error)


@dataclass(frozen=True, slots=True)
class Probed:
    """All that was found; `unsupported` holds the models not trained for what a file probes: (model, file)."""

    scores: Sequence[ProbeScore]
    differences: Sequence[Difference]
    unsupported: Sequence[tuple[str, str]] = ()
    failed: Sequence[Failed] = ()

    def titles(self) -> dict[tuple[str, str], str]:
        """{(probe, file): what to call it}: the file is named where it takes that to tell them apart."""
        keys = dict.fromkeys((one.probe, one.file) for one in self.scores)
        several = {probe for probe, count in Counter(probe for probe, _ in keys).items() if count > 1}
        files = {file for _, file in keys}
        short = {file: Path(file).name.partition(".")[0] for file in files}
        if len({*short.values()}) < len(files):
            short = {file: file for file in files}
        return {(probe, file): f"{probe} ({short[file]})" if probe in several else probe for probe, file in keys}

    def __repr__(self) -> str:
        models = ", ".join(dict.fromkeys(one.model for one in self.scores))
        sure = sum(one.p < SIGNIFICANT for one in self.differences)
        told = f"{len(self.scores)} scores, {len(self.differences)} differences, {sure} more than chance"
        return f"Probed({models}: {told}; {len(self.failed)} failed)"

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each score, as ProbeScore: model, probe, file, group (None: all items), figure, low, high, items.

        Raises:
            MachineError: pandas is not installed.
        """
        return data_frame(self.scores)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values; `version` is that of the form."""
        return {
            "version": VERSION,
            "scores": [asdict(one) for one in self.scores],
            "differences": [asdict(one) for one in self.differences],
            "unsupported": [list(pair) for pair in self.unsupported],
            "failed": [{"model": one.model, "file": one.file, "error": str(one.error)} for one in self.failed],
        }


@checked
def probe(
    models: LanguageModel | Place | Iterable[Place] | Mapping[str, LanguageModel | Place],
    *,
    pairs: Paths = (),
    facts: Paths = (),
    words: Paths = (),
    held_out: Paths = (),
    device: torch.device | str | None = None,
) -> Probed:
    """Probes every model with every file; what cannot be read or measured is `failed`, and the others are reported.

    Args:
        models: a run, a folder, or a model; several runs; or {name: any of these}
        pairs: records with good, bad and phenomenon (BLiMP).
        facts: records with text, which has one [MASK], and answer.
        words: records with word1, word2 and score.
        held_out: folders of shards, of whose held-out text bits per byte are measured.
        device: where models that are opened compute; None: on a GPU when there is one.

    Raises:
        DataError: nothing is left: no file can be read, or has anything that a tokenizer can represent.
        ModelError: nothing is left: models that cannot be opened, or whose scores are no numbers.
        UsageError: no file, or nothing that these models were taught.
    """
    given = {"pairs": pairs, "facts": facts, "words": words, "held-out": held_out}
    files = {name: [Path(one) for one in _several(some)] for name, some in given.items()}
    if not any(files.values()):
        raise UsageError(f"expected files to probe with: {', '.join(f'--{name} FILE' for name in PROBES)}")
    failed: list[Failed] = []
    opened = dict(_opened(models, device_of(device), failed))
    if named := [name for name in NAMES if name in opened]:
        raise UsageError(f"{', '.join(named)}: n-grams have that name; call the model's folder something else")
    read = list(_read(files, failed)) if opened else []
    found: Found = {model: dict(_measured(model, loaded, read, failed)) for model, loaded in opened.items()}
    if not any(found.values()):
        if failed:
            raise type(failed[0].error)(str(failed[0])) from failed[0].error
        raise UsageError("these models were taught nothing that these files probe")
    for some, _ in read:
        if isinstance(some, HeldOut):
            for gram, one in some.counting().items():
                found.setdefault(gram, {})[str(some.path), one.name] = one
    scores = [
        _score(model, file, one, group)
        for model, probes in found.items()
        for (file, _), one in probes.items()
        for group in _groups(one)
    ]
    unsupported = [
        (model, str(some.path))
        for model in opened
        for some, _ in read
        if not any(path == str(some.path) for path, _ in found[model])
        and not any((one.model, one.file) == (model, str(some.path)) for one in failed)
    ]
    return Probed(scores, _differences(found), unsupported, failed)


def _several(some: Any) -> list[Any]:
    return [some] if isinstance(some, str | Path | LanguageModel) else list(some)


def names_of(runs: Sequence[Place]) -> list[str]:
    """Their folders' names, or whole paths where two are alike."""
    names = [Path(run).resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def _opened(models: Any, device: torch.device, failed: list[Failed]) -> Iterator[tuple[str, LanguageModel]]:
    """(name, model) of those that can be opened."""
    if not isinstance(models, Mapping):
        several = _several(models)
        if any(isinstance(one, LanguageModel) for one in several):
            models = {"model": several[0]} if len(several) == 1 else {f"model {n}": m for n, m in enumerate(several, 1)}
        else:
            models = dict(zip(names_of(several), several, strict=True))
    for name, one in models.items():
        if isinstance(one, LanguageModel):
            yield name, one
            continue
        if not isinstance(one, str | Path):
            raise UsageError(f"models: expected a run, a folder or a LanguageModel, got {shown(one)}")
        try:
            yield name, load(one, device=device)
        except BothwaysError as error:
            failed.append(Failed(name, "", error))


def _read(files: Mapping[str, Sequence[Path]], failed: list[Failed]) -> Iterator[tuple[Any, Measure]]:
    """The files that can be read, each with its probe."""
    for name, paths in files.items():
        reader, measure = PROBES[name]
        for path in paths:
            try:
                yield reader(path), measure
            except BothwaysError as error:
                failed.append(Failed("", str(path), error))


def _measured(
    model: str, loaded: LanguageModel, read: Sequence[tuple[Any, Measure]], failed: list[Failed]
) -> Iterator[tuple[tuple[str, str], Probe]]:
    """What a model got in the files that it can be probed with."""
    for some, measure in read:
        try:
            for one in measure(loaded, some):
                yield (str(some.path), one.name), one
        except BothwaysError as error:
            failed.append(Failed(model, str(some.path), error))


def _groups(one: Probe) -> list[str | None]:
    """All items (None), and the groups into which they fall where these are several."""
    groups = sorted({*one.group.tolist()})
    return [None, *groups] if len(groups) > 1 else [None]


def _score(model: str, file: str, whole: Probe, group: str | None) -> ProbeScore:
    one = whole.of(group)
    found = one.estimate
    templates = 0 if one.template is None else len(np.unique(one.template))
    figures = found.figure, found.low, found.high
    return ProbeScore(model, one.name, file, group, *figures, len(one.value), templates, one.ties, one.left_out)


def _differences(found: Found) -> list[Difference]:
    """Of all pairs of models, over the items that neither tokenizer left out."""
    raw = [
        _difference((one, other), file, group, a.of(group), b.of(group))
        for one, other in combinations(found, 2)
        if not {one, other} <= set(NAMES)
        for (file, name), whole in found[one].items()
        if (file, name) in found[other]
        for a, b in [_shared(whole, found[other][file, name])]
        if len(a.item) > 1
        for group in _groups(a)
    ]
    return [replace(one, p=p) for one, p in zip(raw, holm([one.p for one in raw]), strict=True)]


def _shared(a: Probe, b: Probe) -> tuple[Probe, Probe]:
    return a.where(np.isin(a.item, b.item)), b.where(np.isin(b.item, a.item))


def _difference(models: tuple[str, str], file: str, group: str | None, a: Probe, b: Probe) -> Difference:
    found = estimate([a.value, b.value], a.gold, a.weight, a.template)
    counted = a.gold is None and a.weight is None
    # The exact test knows no templates, and the interval's is no exact one: the more careful of both.
    p = max(found.p, sign_test(a.value, b.value)) if counted else found.p
    return Difference(*models, a.name, file, group, len(a.item), found.figure, found.low, found.high, p)
