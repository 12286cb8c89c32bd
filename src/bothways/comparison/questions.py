"""The files that all models are asked about: minimal pairs, and labelled texts for linear probes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bothways.analysis.probes import BAD, GOOD, PARADIGM, Records
from bothways.corpus.fields import refuse_field, text_field
from bothways.corpus.options import PrepareOptions
from bothways.corpus.readers import Reader
from bothways.errors import DataError
from bothways.tasks.labels import label_name


@dataclass(frozen=True, slots=True)
class Pairs:
    """Sentences of which one is good and the other bad, and else the same (BLiMP, Warstadt et al. 2020); paradigm "":
    nobody says."""

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
        """Of records with label and text, or text_a and text_b.

        Raises:
            DataError: a file or record that cannot be read, or no record; file, line and field are named.
        """
        texts, other, labels = [], [], []
        fields: tuple[str, ...] = ()
        for number, record in Reader(PrepareOptions()).records(path):
            fields = fields or (("text_a", "text_b") if "text_a" in record else ("text",))
            first, *second = (text_field(path, number, record, field) for field in fields)
            texts.append(first)
            other += second
            if (label := label_name(record.get("label"))) is None:
                refuse_field(path, number, record, "label")
            else:
                labels.append(label)
        if not texts:
            raise DataError(f"{path}: expected records with text and label, got an empty file")
        return cls(texts, other or None, labels)


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
