"""Where do heads look? One sentence by layer and head, and what every head does over many texts.

Letters: L layers, H heads, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from bothways.batch import Reads
from bothways.errors import UsageError
from bothways.inference.embed import STEPS, one_reading, readings
from bothways.inference.engine import Engine
from bothways.model.passing import Pass


@dataclass(frozen=True, slots=True)
class Heads:
    """What heads do, [L, H] each, the mean over all places of a text, or of some.

    distance   places between who looks and what is looked at
    entropy    of a line, in bits
    itself, before, after   shares that go to the place itself, the one before, the one after
    separator  share that goes to special tokens
    """

    distance: np.ndarray
    entropy: np.ndarray
    itself: np.ndarray
    before: np.ndarray
    after: np.ndarray
    separator: np.ndarray

    @classmethod
    def of(cls, weights: np.ndarray, special: np.ndarray) -> Heads:
        """Of one text: weights [L, H, T, T], special [T]."""
        places = np.arange(len(special))
        sums = (
            (weights * np.abs(places[:, None] - places)).sum((-1, -2)),
            -(weights * np.log2(np.maximum(weights, 1e-12))).sum((-1, -2)),
            *(np.diagonal(weights, offset, axis1=-2, axis2=-1).sum(-1) for offset in (0, -1, 1)),
            (weights * special).sum((-1, -2)),
        )
        return cls(*(total / len(special) for total in sums))


@dataclass(frozen=True, slots=True)
class AttentionMaps:
    """Of one text, read in one way.

    reads    "all sides", "left to right" or "right to left"
    tokens   [T] as text
    special  [T] bool: a special token
    weights  float32 [L, H, T, T]: how much each place (third) takes from each (fourth); lines sum to 1
    left_out  tokens behind what the model reads at once
    """

    reads: Reads
    tokens: list[str]
    special: np.ndarray
    weights: np.ndarray
    left_out: int = 0

    @property
    def heads(self) -> Heads:
        """What every head does in this text."""
        return Heads.of(self.weights, self.special)

    @property
    def note(self) -> str:
        """What is not shown, in words; empty if all is."""
        return f"{self.left_out:,} more tokens are not shown: the model reads no more at once" if self.left_out else ""


def attention(engine: Engine, text: str) -> list[AttentionMaps]:
    """The weights of a text, as far as the model reads at once, in each way that the model was taught to read.

    Raises:
        ModelError: a model that was taught no way of reading a text, or two passes that only together are one.
        UsageError: no text.
    """
    if not text.strip():
        raise UsageError("expected a text, got nothing")
    one_reading(engine)  # or it says why not
    special = sorted(engine.tokenizer.vocabulary.special)
    found = []
    for reads in readings(engine.abilities):
        row, *rest = _rows(engine, [text], reads)
        left_out = sum(int((~np.isin(more, special)).sum()) for more in rest)
        tokens = [_shown(engine, token) for token in row.tolist()]
        found.append(AttentionMaps(reads, tokens, np.isin(row, special), _weights(engine, row, reads), left_out))
    return found


def _shown(engine: Engine, token: int) -> str:
    """A token as its text; half a character as what stands for one that cannot be shown."""
    own = engine.tokenizer
    if token in own.vocabulary.special or own.is_inside(token):
        return own.tokens([token])[0]
    return own.text_of(token) or "\N{REPLACEMENT CHARACTER}"


def heads(engine: Engine, texts: Sequence[str], reads: Reads) -> Heads:
    """Means over all places of all texts, read in one of the ways that the model was taught."""
    special = sorted(engine.tokenizer.vocabulary.special)
    sums, places = np.zeros(()), 0
    for row in _rows(engine, texts, reads):
        one = Heads.of(_weights(engine, row, reads), np.isin(row, special))
        sums = sums + len(row) * np.stack([getattr(one, column.name) for column in fields(one)])
        places += len(row)
    return Heads(*(sums / places))


def _rows(engine: Engine, texts: Sequence[str], reads: Reads) -> list[np.ndarray]:
    return engine.rows(texts, closed=reads != "left to right")[0]


@torch.inference_mode()
def _weights(engine: Engine, row: np.ndarray, reads: Reads) -> np.ndarray:
    """float32 [L, H, T, T]"""
    tokens, layout = engine.collate([row], face="decoder")
    layout = replace(layout, step=STEPS[reads](layout.position))
    backbone, weights = engine.model.backbone, list[Tensor]()
    given = Pass(layout, engine.model.rule.dense(layout), watched={"attention": weights})
    engine.finite(backbone.encode(backbone.embeddings(tokens, layout), given))
    return torch.cat(weights).cpu().numpy()
