"""Samples of tasks packed several in a row: nothing is padded that need not be.

Letters: T tokens, N targets, S samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from bothways.batch import Batch, Sample
from bothways.visibility import Layout

ROOMS = range(64, 97, 8)
"""Tokens in a row; where a sample is longer, every row has room for as many as it has, since rows are stacked."""
COST = 1024
"""What a place costs beside its attention to one other."""
TOKENS_AT_ONCE = 2048  # on a CPU


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch, and where the targets of each sample are in it.

    places  {(head, name) of a target of the batch: (number of the sample, of its target, how many), in order}
    """

    batch: Batch
    places: dict[tuple[str, str], list[tuple[int, int, int]]]


def pack(samples: Sequence[Sample], examples: np.ndarray | None = None) -> Packed:
    """All samples as one batch, each a document of its own; they do not see each other.

    Args:
        examples: [S] the number of the example of each; the groups of targets are the example's own. None: each sample
            is an example.
    """
    examples = np.arange(len(samples)) if examples is None else examples
    groups = [np.asarray(target.group) for one in samples for target in one.targets if target.group is not None]
    most = 1 + max((int(group.max(initial=0)) for group in groups), default=0)
    rows: list[Sample] = []
    places: dict[tuple[str, str], list[tuple[int, int, int]]] = defaultdict(list)
    for row in rows_of([len(sample) for sample in samples]):
        rows.append(_joined([samples[i] for i in row], [int(examples[i]) * most for i in row]))
        for i in row:
            for number, target in enumerate(samples[i].targets):
                places[target.head, target.name].append((i, number, len(target.at)))
    return Packed(Batch.stack(rows), places)


def packed_alike(
    samples: Sequence[Sample], device: torch.device, *, batch_size: int | None = None
) -> Iterator[tuple[np.ndarray, Packed]]:
    """Samples of like length packed together on a device, and their numbers; the longest first.

    Args:
        batch_size: samples at once; None: as many tokens as suit the device.
    """
    if not samples:
        return
    tokens = TOKENS_AT_ONCE * (1 if device.type == "cpu" else 16)
    order = np.argsort([-len(sample) for sample in samples], kind="stable")
    lengths = np.cumsum([len(samples[i]) for i in order])
    cuts = range(batch_size, len(order), batch_size) if batch_size else np.flatnonzero(np.diff(lengths // tokens)) + 1
    for some in np.split(order, cuts):
        packed = pack([samples[i] for i in some])
        yield some, replace(packed, batch=packed.batch.to(device))


def _joined(samples: Sequence[Sample], groups: Sequence[int]) -> Sample:
    """Samples laid end to end; `groups` is added to those of each."""
    layouts, targets, begin, document = [], [], 0, 0
    for sample, first in zip(samples, groups, strict=True):
        layout = sample.layout
        layouts.append(replace(layout, document=np.where(layout.real, layout.document + document, layout.document)))
        targets += [
            replace(
                target, at=np.asarray(target.at) + begin, group=None if target.group is None else target.group + first
            )
            for target in sample.targets
        ]
        begin += len(sample)
        document += 1 + int(layout.document.max())
    return Sample(np.concatenate([sample.tokens for sample in samples]), Layout.concat(layouts), tuple(targets))


def rows_of(lengths: Sequence[int]) -> list[list[int]]:
    """The numbers of the examples of every row; rows are as long as makes the batch cheapest."""
    longest = max(lengths)
    found = [(rows_within(lengths, room), room) for room in ROOMS if room >= longest]
    found = found or [(rows_within(lengths, longest), longest)]
    return min(found, key=lambda one: len(one[0]) * one[1] * (COST + one[1]))[0]


def rows_within(lengths: Sequence[int], room: int) -> list[list[int]]:
    """The longest first, each into the first row that has room left."""
    rows: list[list[int]] = []
    left: list[int] = []
    for number in np.argsort(-np.asarray(lengths), kind="stable").tolist():
        row = next((row for row, space in enumerate(left) if space >= lengths[number]), None)
        if row is None:
            row = len(rows)
            rows.append([])
            left.append(room)
        rows[row].append(number)
        left[row] -= lengths[number]
    return rows
