"""Continues a text, piece by piece, with a cache of keys and values.

Letters: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bothways.errors import UsageError
from bothways.inference.reading import Reader
from bothways.model import Cache
from bothways.visibility import Layout, ordered

ROWS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Drawing:
    """How the next piece is chosen from the logits.

    temperature  the logits are divided by it; 0 takes the likeliest piece
    top_k        only among the so many likeliest; None: among all
    top_p        only among the likeliest that hold this share together (Holtzman et al. 2020, section 3.1)
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise UsageError(f"temperature is 0 (the likeliest piece) or more, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k is how many pieces to choose among, 1 or more, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is a share, above 0 and at most 1, got {self.top_p}")

    def __call__(self, logits: Tensor, chances: np.ndarray) -> np.ndarray:
        """logits [B, V] float32, one number of 0..1 a row -> pieces [B]."""
        if self.temperature == 0:
            return logits.argmax(-1).cpu().numpy()
        best = (logits / self.temperature).sort(dim=-1, descending=True, stable=True)
        share = best.values.softmax(-1)
        if self.top_k is not None:
            share[:, self.top_k :] = 0.0
            share /= share.sum(-1, keepdim=True)
        share = torch.where(share.cumsum(-1) - share < self.top_p, share, 0.0)
        upto = share.cumsum(-1)
        drawn = torch.from_numpy(chances).to(upto)[:, None] * upto[:, -1:]
        allowed = (share > 0).sum(-1, keepdim=True)  # the first so many; a chance that was rounded up to 1 is the last
        place = torch.searchsorted(upto, drawn, right=True).minimum(allowed - 1)
        return best.indices.gather(1, place)[:, 0].cpu().numpy()


def extend(
    reader: Reader, prompts: Sequence[str], *, max_new_tokens: int = 40, drawing: Drawing, seed: int = 0
) -> list[str]:
    """Every prompt with its continuation, which ends at [SEP] (left out) or after `max_new_tokens` pieces.

    When a text outgrows the model, its older half is forgotten: [CLS] and the newer half are read again, as training
    cuts long documents too. Prompt i draws from a random stream of (seed, i), whatever stands beside it.

    Raises:
        UsageError: a number out of range.
        ModelError: the objective did not teach it.
    """
    reader.needs("decoder")
    if max_new_tokens < 0:
        raise UsageError(f"max_new_tokens is how many pieces to add, 0 or more, got {max_new_tokens}")
    begun = [np.array(pieces, dtype=np.int64) for pieces in map(reader.tokenizer.encode, prompts)]
    streams = [np.random.default_rng((seed, number)) for number in range(len(prompts))]
    order = sorted(range(len(prompts)), key=lambda number: len(begun[number]))
    result = [""] * len(prompts)
    for start in range(0, len(order), ROWS_AT_ONCE):
        numbers = order[start : start + ROWS_AT_ONCE]
        texts = [_Text(begun[number], streams[number], max_new_tokens) for number in numbers]
        while growing := [text for text in texts if text.left]:
            _grow(reader, growing, drawing)
        for number, text in zip(numbers, texts, strict=True):
            result[number] = prompts[number] + _spell(reader, begun[number], text.new)
    return result


class _Text:
    """A text being written; the model reads [CLS] and the pieces from `start` on."""

    def __init__(self, begun: np.ndarray, stream: np.random.Generator, left: int) -> None:
        self.begun = begun
        self.stream = stream
        self.left = left  # how many pieces may still be added
        self.new: list[int] = []
        self.start = 0

    def window(self, cls: int, length: int) -> np.ndarray:
        """What the model reads; where that is too long, the older half is forgotten for good."""
        pieces = np.concatenate([self.begun, np.array(self.new, dtype=np.int64)])
        if 1 + len(pieces) - self.start > length:
            self.start = len(pieces) - length // 2
        return np.concatenate([[cls], pieces[self.start :]])

    def add(self, piece: int, end: int) -> None:
        if self.left and piece == end:
            self.left = 0
        elif self.left:
            self.new.append(piece)
            self.left -= 1


@torch.inference_mode()
def _grow(reader: Reader, texts: Sequence[_Text], drawing: Drawing) -> None:
    """Adds pieces to all texts until none grows or one needs its older half forgotten."""
    vocabulary, longest = reader.tokenizer.vocabulary, reader.model.config.length
    rows = [text.window(vocabulary.cls, longest) for text in texts]
    pieces, layout = reader.lay(rows, face="decoder", left=True)
    rounds = min(1 + longest - max(map(len, rows)), max(text.left for text in texts))
    capacity = pieces.shape[1] + rounds - 1  # the last piece drawn is not read here
    cache = Cache(reader.model.config, rows=len(rows), capacity=capacity, like=reader.model.table)
    silent = torch.tensor(sorted(vocabulary.special - {vocabulary.sep}), device=reader.device)
    for _ in range(rounds):
        known = cache.grow(layout)
        states = reader.model.backbone(pieces, layout, ordered.dense(layout, known), cache=cache)
        logits = reader.model.logits(states[:, -1]).float()
        logits[:, silent] = -torch.inf
        drawn = drawing(logits, np.array([text.stream.random() for text in texts]))
        for text, piece in zip(texts, drawn.tolist(), strict=True):
            text.add(piece, vocabulary.sep)
        if not any(text.left for text in texts):
            return
        pieces = torch.from_numpy(drawn)[:, None].to(reader.device)
        layout = _next(layout)


def _next(layout: Layout) -> Layout:
    """The layout [B, 1] of the tokens that come after the last ones."""
    last = layout.map(lambda column: column[:, -1:])
    return Layout(
        document=last.document,
        step=last.step + 1,
        group=last.group,
        position=last.position + 1,
        hidden=last.hidden,
        segment=last.segment,
    )


def _spell(reader: Reader, begun: np.ndarray, new: Sequence[int]) -> str:
    """The new pieces as text; a character that was cut in the middle at the end is left out."""
    decode = reader.tokenizer.decode
    ends = range(len(new), max(0, len(new) - 4), -1)  # a character is at most four bytes
    whole = next((end for end in ends if not decode(new[:end]).endswith("\ufffd")), 0 if len(new) < 4 else len(new))
    before, after = decode(begun), decode([*begun, *new[:whole]])
    return after.removeprefix(before) if after.startswith(before) else decode(new[:whole])
