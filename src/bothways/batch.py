"""The only things that travel: a row of text, a sample made of it, a batch of samples, and the losses.

Letters: B rows, T tokens in a row, N targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from bothways.visibility import Layout, places


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How many tokens there are, and which of them have a role.

    [CLS] opens a document, [SEP] closes it, [MASK] hides a token, [PAD] pads, [UNK] stands for what has no token.
    Shards have a token for each; a published model keeps those it came with, and -1 is a role that it has not.

    eos_token_ids           the tokens that end a text, where the files of a published model say so; see `ends`
    decoder_start_token_id  the token that the decoder of an encoder-decoder begins with, where they say so; see `start`
    """

    size: int
    pad: int
    unk: int
    cls: int
    sep: int
    mask: int
    reserved: frozenset[int] = field(default=frozenset(), repr=False)
    eos_token_ids: tuple[int, ...] = ()
    decoder_start_token_id: int = -1

    @property
    def special(self) -> frozenset[int]:
        """Tokens that are no text: never hidden, never drawn as a random replacement."""
        return (self.reserved | {self.pad, self.unk, self.cls, self.sep, self.mask}) - {-1}

    @property
    def ends(self) -> frozenset[int]:
        """Each of them ends a text that is being written: those that the model's files name, else [SEP]."""
        return frozenset(self.eos_token_ids or (self.sep,)) - {-1}

    @property
    def start(self) -> tuple[int, ...]:
        """What the decoder of an encoder-decoder begins with: the token that the model's files name, and [CLS]."""
        return (self.cls,) if self.decoder_start_token_id in (-1, self.cls) else (self.decoder_start_token_id, self.cls)

    def text_table(self) -> np.ndarray:
        """[V] bool: True for the tokens that are text."""
        table = np.ones(self.size, dtype=bool)
        table[sorted(self.special)] = False
        return table


@dataclass(frozen=True, slots=True)
class Row:
    """One packed row of text, as the corpus hands it to an objective; numpy columns [T].

    tokens       int32 token numbers
    document     int32; 0, 1, 2, ... along the row; padding is -1, -2, ... (each padding token a document of its own)
    word_starts  bool; True where a word begins (and at every special token)
    language     int32, the number of the language; None where no language was named
    part         int32, of pairs: 0 in the source, 1 in the target; None where the texts are no pairs

    A pair is one document of two sides, [CLS] a [SEP] b [SEP]; its source is [CLS] a [SEP].
    """

    tokens: np.ndarray
    document: np.ndarray
    word_starts: np.ndarray
    language: np.ndarray | None = None
    part: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def following(self) -> np.ndarray:
        """[T] bool: the tokens with another one of their document before them, [SEP] and [UNK] among them; of pairs,
        those of the target. A model that bounds their likelihood predicts the same tokens as a causal one."""
        return places(self.document) > 0 if self.part is None else self.part > 0

    @property
    def as_text(self) -> Row:
        """The same, a pair being read as one text."""
        return self if self.part is None else replace(self, part=None)


@dataclass(frozen=True, slots=True)
class Target:
    """What must be predicted, where, and through which head.

    head    name of the head ("words", ...)
    at      [N] places: of the row in a Sample (0..T-1), of the flattened batch in a Batch (0..B*T-1); [N, K] for a head
            that reads several places at once
    labels  [N] what is right; [N, C] where several of C may be right
    weight  one number, or one a target; the loss is the weighted mean; 0: only there to fill up
    name    what the loss is called in reports; equal names are summed together
    of      [N] in a Sample, what is predicted there, for whoever decodes it: the number of a word, a token of a context
    group   [N] targets of one number, 0 or more, share a softmax (a span's places, the choices of a question), in a
            Batch across its rows; None: none do
    """

    head: str
    at: np.ndarray | Tensor
    labels: np.ndarray | Tensor
    weight: np.ndarray | Tensor | float = 1.0
    name: str = "loss"
    group: np.ndarray | Tensor | None = None
    of: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One row after corrupt -> arrange -> predict, or an example of a task; numpy columns [T].

    cut  how many tokens of the text were left out, since the model reads no more
    """

    tokens: np.ndarray
    layout: Layout
    targets: tuple[Target, ...]
    cut: int = 0

    def __len__(self) -> int:
        return len(self.tokens)

    def padded(self, length: int) -> Sample:
        """The same with padding behind it; what token stands there is read by nobody."""
        missing = length - len(self.tokens)
        if not missing:
            return self
        return replace(self, tokens=np.pad(self.tokens, (0, missing)), layout=self.layout.padded(missing))

    def halves(self) -> tuple[Sample, Sample]:
        """What an encoder reads of it, and what a decoder does, with the targets, which are all on that side.

        A side that nothing stands on has one token of padding.
        """
        side = np.zeros(len(self)) if self.layout.side is None else self.layout.side
        encoded, decoded = (np.flatnonzero((side == which) & self.layout.real) for which in (0, 1))
        place = np.full(len(self), -1)
        place[decoded] = np.arange(len(decoded))
        targets = tuple(replace(target, at=place[np.asarray(target.at)]) for target in self.targets)
        assert all((np.asarray(target.at) >= 0).all() for target in targets), "a target on the encoder's side"
        return self._at(encoded, ()), self._at(decoded, targets)

    def _at(self, places: np.ndarray, targets: tuple[Target, ...]) -> Sample:
        layout = self.layout.map(lambda column: column[places])
        sample = Sample(self.tokens[places], replace(layout, side=None), targets)
        return sample if len(places) else replace(sample, tokens=self.tokens[:0]).padded(1)


LENGTH_STEP = 8  # samples of unequal length are padded to a multiple: oneDNN keeps kernels for every length it meets


@dataclass(frozen=True, slots=True)
class SourceTokens:
    """What an encoder reads of a batch, for the decoder that reads the rest: tokens [B, S] int64, a layout [B, S]."""

    tokens: Tensor
    layout: Layout


@dataclass(frozen=True, slots=True)
class BatchSplitter:
    """How to make a batch again in smaller parts, where it does not fit into memory.

    examples  none is parted
    make      makes a batch of some of them; their losses add up to those of the whole
    """

    examples: Sequence[Any]
    make: Callable[[Sequence[Any]], Batch]


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples stacked: tokens [B, T] int64, a torch layout [B, T], and the targets gathered by (head, name).

    source    what stands on the encoder's side (`Layout.side`); tokens, layout and targets are then the decoder's
    splitter  how to make smaller ones of it; None: its loss is of all rows together
    progress  of the run at its step, 0 to 1, for losses that change with it
    """

    tokens: Tensor
    layout: Layout
    targets: tuple[Target, ...]
    source: SourceTokens | None = None
    splitter: BatchSplitter | None = None
    progress: float = 1.0

    @classmethod
    def stack(cls, samples: Sequence[Sample]) -> Batch:
        """Places are shifted by row * T. Samples of unequal length (scaffolding) are padded to one."""
        if any(sample.layout.side is not None for sample in samples):
            encoded, decoded = zip(*(sample.halves() for sample in samples), strict=True)
            source, batch = cls.stack(encoded), cls.stack(decoded)
            return replace(batch, source=SourceTokens(source.tokens, source.layout))
        length = max(len(sample.tokens) for sample in samples)
        if any(len(sample.tokens) != length for sample in samples):
            length += -length % LENGTH_STEP
            samples = [sample.padded(length) for sample in samples]
        grouped: dict[tuple[str, str], list[tuple[int, Target]]] = {}
        for row, sample in enumerate(samples):
            for target in sample.targets:
                grouped.setdefault((target.head, target.name), []).append((row, target))
        return cls(
            tokens=torch.from_numpy(np.stack([sample.tokens for sample in samples]).astype(np.int64)),
            layout=Layout.stack([sample.layout for sample in samples]),
            targets=tuple(_gather(head, name, found, length) for (head, name), found in grouped.items()),
        )

    @property
    def token_count(self) -> int:
        """Real tokens (padding left out)."""
        read = int(self.layout.real.sum())
        return read if self.source is None else read + int(self.source.layout.real.sum())

    @property
    def places(self) -> int:
        """With padding."""
        return self.tokens.numel() + (0 if self.source is None else self.source.tokens.numel())

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device."""

        def move(target: Target) -> Target:
            at, labels, weight = target.at, target.labels, target.weight
            assert isinstance(at, Tensor) and isinstance(labels, Tensor) and isinstance(weight, Tensor)
            group = target.group.to(device) if isinstance(target.group, Tensor) else None
            return replace(target, at=at.to(device), labels=labels.to(device), weight=weight.to(device), group=group)

        return replace(
            self,
            tokens=self.tokens.to(device),
            layout=self.layout.to(device),
            targets=tuple(move(target) for target in self.targets),
            source=self.source and SourceTokens(self.source.tokens.to(device), self.source.layout.to(device)),
        )


def _gather(head: str, name: str, found: list[tuple[int, Target]], length: int) -> Target:
    at = np.concatenate([np.asarray(target.at) + row * length for row, target in found]).astype(np.int64)
    labels = np.concatenate([np.asarray(target.labels) for _, target in found])
    labels = labels.astype(np.float32 if labels.dtype.kind == "f" else np.int64)
    weight = np.concatenate(
        [np.broadcast_to(np.asarray(target.weight, dtype=np.float32), len(target.at)) for _, target in found]
    )
    return Target(head, torch.from_numpy(at), torch.from_numpy(labels), torch.from_numpy(weight), name, _groups(found))


def _groups(found: list[tuple[int, Target]]) -> Tensor | None:
    """[N] as the targets have them, the same number the same group in every row; one without has a group of its own,
    numbered -1, -2, ..."""
    if all(target.group is None for _, target in found):
        return None
    first = np.cumsum([0, *(len(target.at) for _, target in found)])
    groups = [
        -1 - start - np.arange(len(target.at)) if target.group is None else np.asarray(target.group)
        for start, (_, target) in zip(first, found, strict=False)
    ]
    return torch.from_numpy(np.concatenate(groups).astype(np.int64))


Reads = Literal["all sides", "left to right", "right to left", "both directions"]
"""How a plain text is read."""

Losses = dict[str, tuple[Tensor, Tensor]]
"""{name: (weighted sum, sum of weights)}: what a mean is made of, over processes and micro-batches."""
