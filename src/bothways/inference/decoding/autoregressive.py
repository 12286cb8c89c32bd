"""The logits of the next token of texts that grow, with a cache of what was read.

A text that grows to its left is handed over, and read, backwards: its last token first.

Letters: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bothways.batch import Vocabulary
from bothways.inference.engine import Engine
from bothways.model import Cache
from bothways.visibility import Layout


@dataclass(frozen=True, slots=True)
class Autoregressive:
    """How a text is read that is written one token after the other.

    all_sides  the prompt is; otherwise it is read from left to right like the rest
    asks       [MASK] is laid behind the text, the next token is said in its place and then stands there; otherwise the
               next token is said by the last one
    backward   from right to left: what comes next stands before
    segments   of the prompt and of the rest, for those who have segments
    """

    all_sides: bool = False
    asks: bool = False
    segments: tuple[int, int] = (0, 0)
    backward: bool = False

    def ends(self, vocabulary: Vocabulary) -> frozenset[int]:
        """The tokens that end a text."""
        return frozenset({vocabulary.cls}) if self.backward else vocabulary.ends

    def counted(self, begun: np.ndarray, new: Sequence[int]) -> list[int]:
        """The tokens in which no run may come twice: a source that is read from all sides may be quoted."""
        return [*([] if self.all_sides else begun.tolist()), *new]


ONWARDS = {
    "decoder": Autoregressive(),
    "prefix": Autoregressive(all_sides=True),
    "append-mask": Autoregressive(all_sides=True, asks=True, segments=(4, 5)),
    "pseudo-mask": Autoregressive(all_sides=True, asks=True),
    "backward": Autoregressive(backward=True),
}
"""decoder      GPT
prefix       the prompt from all sides, then as GPT (T5's prefix LM, Raffel et al. 2020, section 3.2.1)
append-mask  UniLM (Dong et al. 2019, section 2.4): as its sequence-to-sequence rows are trained
pseudo-mask  the same without segments of its own (UniLM v2, Bao et al. 2020)
backward     GPT from right to left
"""


class NextToken:
    """`logits` [B, V] float32 of the token that comes next in each row; `add` it, and they are those of the next."""

    @torch.inference_mode()
    def __init__(
        self, engine: Engine, way: Autoregressive, rows: Sequence[np.ndarray], *, prompts: Sequence[int], rounds: int
    ) -> None:
        """Reads the rows, of which the first `prompts[i]` tokens are the prompt; `rounds` tokens can then be asked."""
        self._reader, self._way = engine, way
        self._mask = [engine.tokenizer.vocabulary.mask] if way.asks else []
        tokens, layout = engine.lay([np.append(row, self._mask) for row in rows], face="decoder", left=True)
        if way.all_sides:
            prompt = layout.position < torch.tensor(prompts, device=engine.device)[:, None]  # [B, T]
            first, second = (torch.full_like(layout.step, segment) for segment in way.segments)
            step = layout.step.masked_fill(prompt, 0)
            layout = replace(layout, step=step, segment=torch.where(prompt, first, second))
        if way.backward:
            layout = replace(layout, position=engine.model.config.length - 1 - layout.position)
        capacity = tokens.shape[1] + rounds
        self._cache = Cache(engine.model.config, rows=len(rows), capacity=capacity, like=engine.model.table)
        last = layout.map(lambda column: column[:, -1:])
        self._place = last if way.asks else self._behind(last)  # of the token that comes next
        self.logits = self._read(tokens, layout)

    @torch.inference_mode()
    def add(self, tokens: np.ndarray) -> None:
        """Writes one token [B] in every row."""
        fed = torch.from_numpy(np.array([[token, *self._mask] for token in tokens.tolist()])).to(self._reader.device)
        place, self._place = self._place, self._behind(self._place)
        self.logits = self._read(fed, place.then(self._place) if self._way.asks else place)

    @torch.inference_mode()
    def select(self, rows: Sequence[int]) -> None:
        """Row i becomes what row `rows[i]` was; `logits` are as they were until a token is added."""
        if list(rows) == list(range(len(self._place.position))):
            return
        chosen = torch.tensor(rows, device=self._reader.device)
        self._cache.select(chosen)
        self._place = self._place.map(lambda column: column[chosen])

    def _read(self, tokens: Tensor, layout: Layout) -> Tensor:
        model = self._reader.model
        known = self._cache.grow(layout)
        states = model.backbone(tokens, layout, model.rule.dense(layout, known), cache=self._cache)
        if self._way.asks:
            self._cache.keep(self._cache.length - 1)  # [MASK] has said its token, which takes its place
        return model.logits(states[:, -1]).float()

    def _behind(self, place: Layout) -> Layout:
        """The layout [B, 1] of the places behind."""
        position = place.position + (-1 if self._way.backward else 1)
        segment = torch.full_like(place.step, self._way.segments[1])
        step = place.step + 1 if self._way.backward else position
        return replace(place, position=position, step=step, segment=segment)
