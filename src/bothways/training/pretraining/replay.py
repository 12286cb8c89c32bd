"""Rows of one's own text with rows of other text among them, so that what was learned before is not forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from bothways.batch import Row
from bothways.corpus import Rows


@dataclass(frozen=True, slots=True)
class WithReplay:
    """Every 1/share-th row comes from `other`; both are read in their own order, whatever the number of processes."""

    own: Rows
    other: Rows
    share: float

    def __len__(self) -> int:
        """Rows until all of one's own were read once."""
        return round(len(self.own) / (1 - self.share))

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return self.own.length

    def key(self, index: int) -> tuple[int, ...]:
        """What all randomness of row `index` is drawn from."""
        rows, place, of_other = self._place(index)
        return (*rows.key(place), *([1] if of_other else []))

    def __getitem__(self, index: int) -> Row:
        rows, place, _ = self._place(index)
        return rows[place]

    def _place(self, index: int) -> tuple[Rows, int, bool]:
        before, upto = int(index * self.share), int((index + 1) * self.share)
        return (self.other, before, True) if upto > before else (self.own, index - before, False)
