"""The files that all models are measured on: minimal pairs, labelled texts for linear probes, tasks to fine-tune to."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bothways.errors import DataError
from bothways.evaluation.comparison.config import CompareConfig, TaskFiles
from bothways.evaluation.linear_probe import read_sides
from bothways.evaluation.probes import BAD, GOOD, PARADIGM, Records
from bothways.files import sha256
from bothways.tasks.task import Example

FEWEST = 2
VERSION = 5  # scores of another one are computed anew


@dataclass(frozen=True, slots=True)
class Pairs:
    """Sentences of which one is good and the other bad, and else the same (BLiMP, Warstadt et al. 2020); paradigm "":
    unknown."""

    good: list[str]
    bad: list[str]
    paradigm: list[str]

    @classmethod
    def read(cls, paths: tuple[Path, ...], *, each: int, by_file: bool = False) -> Pairs:
        """The first `each` pairs of every paradigm, of records as `bothways probe` reads them; of a file, the first of
        those without one, whose paradigm is the file's name if `by_file`, as BabyLM's pipeline has it.

        Raises:
            DataError: a file or record that cannot be read, or nothing in it; file, line and field are named.
        """
        found: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
        for path in paths:
            records, stem = Records.read(path), path.name.partition(".")[0] if by_file else ""
            paradigms = records.group(*PARADIGM).tolist()
            for good, bad, name in zip(records.texts(*GOOD), records.texts(*BAD), paradigms, strict=True):
                if len(some := found[name, "" if name else str(path)]) < each:
                    some.append((good, bad, name or stem))
        return cls(*map(list, zip(*(pair for some in found.values() for pair in some), strict=True)))


@dataclass(frozen=True, slots=True)
class EvalData:
    """All evaluation data, read once: {name of a probe: its two sides}."""

    pairs: Pairs | None
    probes: dict[str, tuple[list[Example], list[Example]]]
    tasks: dict[str, TaskFiles]
    rows: int
    key: str  # changes with the data

    @classmethod
    def read(cls, config: CompareConfig) -> EvalData:
        """
        Raises:
            DataError: a file that cannot be read or used.
        """
        pairs = Pairs.read(config.pairs, each=config.pairs_each) if config.pairs else None
        probes = {name: read_sides("classify", *files) for name, files in config.probes.items()}
        counts = {str(files[1]): len(probes[name][1]) for name, files in config.probes.items()}
        counts |= {str(config.pairs[0]): len(pairs.good)} if pairs else {}
        if few := next((place for place, count in counts.items() if count < FEWEST), None):
            raise DataError(f"{few}: expected {FEWEST} items or more, got one: of one nothing is known beyond chance")
        parts = [VERSION, config.validation_rows, config.pairs_each, [sha256(file) for file in config.pairs]]
        parts += [[name, *map(sha256, files)] for name, files in config.probes.items()]
        parts += [[name, files.task, sha256(files.train), sha256(files.test)] for name, files in config.tasks.items()]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
        return cls(pairs, probes, config.tasks, config.validation_rows, key)
