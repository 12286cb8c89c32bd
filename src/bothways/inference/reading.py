"""Texts in, states out: what filling, extending, scoring and embedding share.

Rows are sorted by length before they are put together, so that hardly any padding is computed; a row's answer does
not depend on the company it is in.

Letters: B rows, T tokens, D width, N places, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bothways.errors import ModelError, UsageError
from bothways.model import Model, Trained
from bothways.text import Tokenizer
from bothways.visibility import Layout, ordered

TOKENS_AT_ONCE = 1024  # on a CPU, where larger batches fall out of the cache: 4096 is a quarter slower in float32
LOGITS_AT_ONCE = 2**24  # 64 MiB in float32

_TAUGHT_BY = {
    "encoder": ("read from all sides", "mlm or hybrid"),
    "decoder": ("continue a text", "causal or hybrid"),
    "hidden": ("fill in hidden words", "mlm or hybrid"),
    "detect": ("tell which words were replaced", "electra"),
    "unmask": ("continue a text in a number of steps", "diffusion, mlm or bang"),
}


@dataclass(frozen=True, slots=True)
class Reader:
    """A model with its tokenizer, on one device, and what it was taught."""

    model: Model
    tokenizer: Tokenizer
    trained: Trained

    @property
    def device(self) -> torch.device:
        return self.model.table.device

    @property
    def length(self) -> int:
        """Pieces of a text at most: what the body reads, or less where it was fine-tuned on less."""
        return min(self.model.config.length, self.tokenizer.length or self.model.config.length)

    def needs(self, what: str) -> None:
        """
        Raises:
            ModelError: the objective did not teach it ("encoder", "decoder", "hidden": to fill in hidden words, or a
                way of decoding).
        """
        trained = self.trained
        if trained.hidden is not None if what == "hidden" else what in (*trained.faces, *trained.decoding):
            return
        raise self.cannot(what)

    def cannot(self, what: str) -> ModelError:
        """The error for what the objective did not teach; it lists what it did."""
        trained = self.trained
        task, objectives = _TAUGHT_BY[what]
        whence = f"its objective, {trained.objective}," if trained.objective else "its architecture"
        faces = " and ".join(trained.faces) or "none"
        ways = f", and the ways of decoding: {', '.join(trained.decoding)}" if trained.decoding else ""
        return ModelError(
            f"this model was not taught to {task}: {whence} gives the faces: {faces}{ways}. "
            f"Pretrain one with the objective {objectives}."
        )

    def silent(self, end: int | None = None) -> Tensor:
        """The pieces that are never written: the special ones but the one that ends a text ([SEP] unless another is
        given), and those that the tokenizer does not know."""
        vocabulary, table = self.tokenizer.vocabulary, range(self.model.config.vocabulary)
        silent = (vocabulary.special - {vocabulary.sep if end is None else end}) | {*table[vocabulary.size :]}
        found = [piece for piece in sorted(silent) if piece in table]
        return torch.tensor(found, dtype=torch.int64, device=self.device)

    def rows(self, texts: Sequence[str], *, closed: bool) -> tuple[list[np.ndarray], np.ndarray]:
        """[CLS] pieces, and [SEP] when `closed`: int64 rows, and for each row the number of its text.

        A text longer than the model reads becomes several rows of nearly one length, each with its own specials: rows
        are cut like that in training too.
        """
        room = self.model.config.length - 1 - closed
        rows, owner = [], []
        for number, pieces in enumerate(self.tokenizer.encode_batch(texts)):
            for part in np.array_split(np.array(pieces, dtype=np.int64), max(1, math.ceil(len(pieces) / room))):
                rows.append(self._row(part, closed=closed))
                owner.append(number)
        return rows, np.array(owner, dtype=np.int64)

    def marked_rows(self, texts: Sequence[str]) -> list[np.ndarray]:
        """[CLS] pieces [SEP], where [MASK] in a text is the mask: one int64 array a text.

        Raises:
            UsageError: a text longer than the model reads; it is named.
        """
        longest = self.model.config.length
        rows = [self._row(self.tokenizer.encode_marked(text), closed=True) for text in texts]
        for number, row in enumerate(rows, 1):
            if len(row) > longest:
                raise UsageError(
                    f"text {number} ({texts[number - 1][:30]!r}...) has {len(row)} pieces with its specials; the model "
                    f"reads at most {longest}. Leave out what is farthest from [MASK]."
                )
        return rows

    def _row(self, pieces: Sequence[int] | np.ndarray, *, closed: bool) -> np.ndarray:
        closing = [self.tokenizer.vocabulary.sep] if closed else []
        return np.array([*self.tokenizer.opening(pieces), *pieces, *closing], dtype=np.int64)

    def states(self, rows: Sequence[np.ndarray], *, face: str) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Batches of (numbers of the rows [B], their states [B, T, D]), rows of like length together.

        face  "encoder": all see all; "decoder": every piece sees those before it
        """
        for batch in self.batches([len(row) for row in rows]):
            yield batch, self.read([rows[i] for i in batch], face=face)

    @torch.inference_mode()
    def read(self, rows: Sequence[np.ndarray], *, face: str, places: np.ndarray | None = None) -> Tensor:
        """The states [B, T, D] of one batch of rows; or of one place of each, `places` [B]: [B, D], which is faster."""
        pieces, layout = self.lay(rows, face=face)
        plain = face == "encoder" and len({len(row) for row in rows}) == 1 and self.model.rule is ordered
        at = None
        if places is not None:
            at = torch.from_numpy(np.arange(len(rows)) * pieces.shape[1] + places).to(self.device)
        states: Tensor = self.model.backbone(pieces, layout, None if plain else self.model.rule.dense(layout), at=at)
        return states

    def lay(self, rows: Sequence[np.ndarray], *, face: str, left: bool = False) -> tuple[Tensor, Layout]:
        """Rows of unequal length as pieces [B, T] and a layout; the padding is at the end, or at the `left`."""
        length = max(map(len, rows))
        pad = self.tokenizer.vocabulary.pad
        pieces = np.full((len(rows), length), pad if pad < self.model.config.vocabulary else 0)  # nobody sees it
        starts = np.array([length - len(row) if left else 0 for row in rows])[:, None]  # [B, 1]
        for row, start, target in zip(rows, starts[:, 0], pieces, strict=True):
            target[start : start + len(row)] = row
        place = np.arange(length) - starts  # [B, T]
        real = (place >= 0) & (place < np.array([len(row) for row in rows])[:, None])
        position = np.where(real, place, 0)
        layout = Layout.of(
            document=np.where(real, 0, -1 - np.arange(length)),
            step=position if face == "decoder" else np.zeros_like(position),
            position=position,
        )
        return torch.from_numpy(pieces).to(self.device), layout.map(torch.from_numpy).to(self.device)

    @torch.inference_mode()
    def log_probabilities(self, hidden: Tensor, labels: np.ndarray) -> np.ndarray:
        """log p(label) in nats at each place: hidden [N, D], labels [N] -> float32 [N]."""
        answers = torch.from_numpy(labels).to(self.device)
        chunk = max(1, LOGITS_AT_ONCE // self.model.config.vocabulary)
        found = []
        for some, label in zip(hidden.split(chunk), answers.split(chunk), strict=True):
            found.append(-F.cross_entropy(self.model.logits(some).float(), label, reduction="none"))
        return torch.cat(found).cpu().numpy()

    def batches(self, lengths: Sequence[int]) -> Iterator[np.ndarray]:
        """The numbers of the rows, longest first, in batches of a size that suits the device, padding counted."""
        tokens = TOKENS_AT_ONCE if self.device.type == "cpu" else 16 * TOKENS_AT_ONCE
        order = np.argsort(-np.asarray(lengths), kind="stable")
        start = 0
        while start < len(order):
            stop = start + max(1, tokens // max(1, lengths[order[start]]))
            yield order[start:stop]
            start = stop
