"""The files that all models are measured on: minimal pairs, and labelled texts for linear probes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bothways.corpus.lines import refuse
from bothways.errors import DataError
from bothways.evaluation.probes import BAD, GOOD, PARADIGM, Records
from bothways.tasks import task_named
from bothways.tasks.reading import read_examples


@dataclass(frozen=True, slots=True)
class Pairs:
    """Sentences of which one is good and the other bad, and else the same (BLiMP, Warstadt et al. 2020); paradigm "":
    unknown."""

    good: list[str]
    bad: list[str]
    paradigm: list[str]

    @classmethod
    def read(cls, paths: tuple[Path, ...], *, each: int) -> Pairs:
        """The first `each` pairs of every paradigm, of records as `bothways probe` reads them; of a file, the first of
        those without one.

        Raises:
            DataError: a file or record that cannot be read, or nothing in it; file, line and field are named.
        """
        found: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for path in paths:
            records = Records.read(path)
            paradigms = records.group(*PARADIGM).tolist()
            for good, bad, name in zip(records.texts(*GOOD), records.texts(*BAD), paradigms, strict=True):
                if len(some := found[name, "" if name else str(path)]) < each:
                    some.append((good, bad))
        pairs = [(*pair, paradigm) for (paradigm, _), some in found.items() for pair in some]
        return cls([pair[0] for pair in pairs], [pair[1] for pair in pairs], [pair[2] for pair in pairs])


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts with a class each; `other` holds the second texts where an item has two."""

    texts: list[str]
    other: list[str] | None
    labels: list[str]

    @classmethod
    def read(cls, path: Path) -> Labelled:
        """Of records as `bothways finetune --task classify` reads them, with one label each.

        Raises:
            DataError: a file or record that cannot be read, or no record; file, line and field are named.
            UsageError: no field that tells by its name that it is the text, or the label.
        """
        _, examples = read_examples(task_named("classify"), path, skip=refuse)
        for example in examples:
            if isinstance(example.gold, tuple):
                raise DataError(f"{example.place}: expected one label, got a list")
        firsts, *others = zip(*(example.texts for example in examples), strict=True)
        return cls(list(firsts), list(others[0]) if others else None, [example.gold for example in examples])


def read_probe(name: str, train: Path, test: Path) -> tuple[Labelled, Labelled]:
    """Both sides of a linear probe.

    Raises:
        DataError: what cannot be read, a single class, or test labels that were never trained on.
    """
    sides = Labelled.read(train), Labelled.read(test)
    known = set(sides[0].labels)
    if len(known) < 2:
        raise DataError(f"{train}: a probe needs two classes or more, got only {', '.join(known)!r}")
    if new := sorted(set(sides[1].labels) - known):
        raise DataError(f"{test}: the labels {', '.join(new)} of {name} are not in {train}")
    if (sides[0].other is None) != (sides[1].other is None):
        raise DataError(f"{test}: expected as many texts a record as {train} has")
    return sides
