"""The logits of the next token of every sequence, with a cache of what was read.

A text that grows to its left is handed over, and read, backwards: its last token first.

Letters: B rows, T tokens, S tokens of a source, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bothways.inference.decoding.sampling import repeating
from bothways.inference.decoding.sequence import RunningSequence
from bothways.inference.engine import Engine
from bothways.visibility import Layout


@dataclass(frozen=True, slots=True)
class Autoregressive:
    """How a text is read that is generated one token after the other.

    bidirectional_prompt  the prompt is read so; otherwise causally like the rest
    appends_mask  [MASK] stands behind the text, the next token is predicted in its place and then stands there;
                  otherwise the next token is predicted by the last one
    backward      from right to left: what comes next stands before
    repeats_last  the prompt's last token is fed again, in its place, to predict the first token after the prompt
    encoder       the prompt is read by an encoder, and a decoder writes: a text of its own
    segments      of the prompt and of the rest, for those who have segments
    """

    bidirectional_prompt: bool = False
    appends_mask: bool = False
    segments: tuple[int, int] = (0, 0)
    backward: bool = False
    repeats_last: bool = False
    encoder: bool = False


class NextTokenLogits(Protocol):
    """`logits` [B, V] float32 of the token that comes next in each row; rows join, go on with `add`, and leave.

    room  how many tokens a row may have
    """

    room: int
    logits: Tensor

    def join(self, sequences: Sequence[RunningSequence], rows: Sequence[np.ndarray]) -> None:
        """Reads a row of each sequence; they stand behind those at work."""

    def add(self, tokens: np.ndarray) -> None:
        """Every row goes on with one token [B]."""

    def select(self, rows: Sequence[int]) -> None:
        """Row i becomes what row `rows[i]` was, which may be taken many times or not at all."""


def next_token(
    engine: Engine, way: Autoregressive, sequences: Collection[RunningSequence], rows: int
) -> NextTokenLogits:
    """What reads such sequences, so many rows at once."""
    longest = max(one.longest for one in sequences)
    if way.encoder:
        return Seq2SeqNextToken(engine, rows=rows, longest=longest, source=max(len(one.read) for one in sequences))
    return NextToken(engine, way, rows=rows, longest=longest)


class NextToken:
    """`NextTokenLogits` where one stack reads the prompt and what is written."""

    def __init__(self, engine: Engine, way: Autoregressive, *, rows: int, longest: int) -> None:
        """`rows` at most, of up to `longest` tokens each, where the model reads so many."""
        self._engine, self._way = engine, way
        self._mask = [engine.tokenizer.vocabulary.mask] if way.appends_mask else []
        beside = len(self._mask) + way.repeats_last
        self.room = engine.model.config.length - len(self._mask)
        self._cache = engine.new_cache(rows=rows, capacity=min(self.room, longest) + beside)
        self.logits = torch.empty(0, engine.model.config.vocabulary, device=engine.device)

    @torch.inference_mode()
    def join(self, sequences: Sequence[RunningSequence], rows: Sequence[np.ndarray]) -> None:
        """Reads a row of each sequence; they stand behind those at work."""
        prompts = [one.prompt_length for one in sequences]
        if self._way.repeats_last:
            rows = [np.insert(row, first, row[first - 1]) for row, first in zip(rows, prompts, strict=True)]
        tokens, layout = self._engine.collate([np.append(row, self._mask) for row in rows], face="decoder")
        if self._way.bidirectional_prompt:
            prompt = layout.position < torch.tensor(prompts, device=self._engine.device)[:, None]  # [B, T]
            first, second = (torch.full_like(layout.step, segment) for segment in self._way.segments)
            step = layout.step.masked_fill(prompt, 0)
            again = (~prompt & layout.real).int() if self._way.repeats_last else 0
            layout = replace(
                layout, step=step, segment=torch.where(prompt, first, second), position=layout.position - again
            )
        self._cache.take(len(rows))
        last = [len(row) + len(self._mask) - 1 for row in rows]
        self.logits = torch.cat([self.logits, self._read(tokens, layout, last)])

    @torch.inference_mode()
    def add(self, tokens: np.ndarray) -> None:
        """Every row goes on with one token [B]."""
        if not len(tokens):
            return
        fed = torch.tensor([[token, *self._mask] for token in tokens.tolist()], device=self._engine.device)
        layout = self._engine.behind(self._cache, fed.shape[1])  # [B, 1 or 2]
        segment = torch.full_like(layout.step, self._way.segments[1])
        layout = replace(layout, segment=segment, position=layout.position - int(self._way.repeats_last))
        self.logits = self._read(fed, layout, [fed.shape[1] - 1] * len(fed))

    @torch.inference_mode()
    def select(self, rows: Sequence[int]) -> None:
        """Row i becomes what row `rows[i]` was, which may be taken many times or not at all."""
        if list(rows) != list(range(len(self.logits))):
            self._cache.select(rows)
            self.logits = self.logits[torch.tensor(rows, dtype=torch.int64, device=self._engine.device)]

    def _read(self, tokens: Tensor, layout: Layout, last: Sequence[int]) -> Tensor:
        if self._way.backward:
            layout = replace(layout, position=self._engine.model.config.length - 1 - layout.position)
        at = self._engine.flat(tokens, last)
        states = self._engine.states(tokens, layout, cache=self._cache, at=at)  # [B, D]
        if self._mask:
            lengths = self._cache.lengths  # its token takes the place of [MASK]
            self._cache.keep([*lengths[: len(lengths) - len(tokens)], *(one - 1 for one in lengths[-len(tokens) :])])
        return self._engine.logits(states)


class Seq2SeqNextToken:
    """`NextTokenLogits` of an encoder-decoder: the source is read once, when its sequence joins."""

    def __init__(self, engine: Engine, *, rows: int, longest: int, source: int) -> None:
        """`rows` at most, of up to `longest` tokens each, after sources of up to `source`."""
        self._engine = engine
        self.room = engine.model.config.length
        self._cache = engine.new_cache(rows=rows, capacity=min(self.room, longest), decoder=True)
        self._sources = engine.new_cache(rows=rows, capacity=source, decoder=True)
        self._owners: list[int] = []
        self.logits = torch.empty(0, engine.model.config.vocabulary, device=engine.device)

    @torch.inference_mode()
    def join(self, sequences: Sequence[RunningSequence], rows: Sequence[np.ndarray]) -> None:
        """Reads the source of each sequence, and a row of what is written."""
        source = self._engine.collate([one.read for one in sequences], face="encoder")
        tokens, layout = self._engine.collate(rows, face="decoder")
        for cache in (self._cache, self._sources):
            cache.take(len(rows))
        self._owners += [one.number for one in sequences]
        at = self._engine.flat(tokens, [len(row) - 1 for row in rows])
        self.logits = torch.cat([self.logits, self._read(tokens, layout, at, source)])

    @torch.inference_mode()
    def add(self, tokens: np.ndarray) -> None:
        """Every row goes on with one token [B]."""
        if len(tokens):
            fed = torch.from_numpy(tokens)[:, None].to(self._engine.device)
            self.logits = self._read(fed, self._engine.behind(self._cache, 1), None, None)

    @torch.inference_mode()
    def select(self, rows: Sequence[int]) -> None:
        """Row i becomes what row `rows[i]` was; the source of a sequence is the same for all its candidates."""
        if list(rows) == list(range(len(self.logits))):
            return
        same = [slot < len(self._owners) and self._owners[slot] == self._owners[row] for slot, row in enumerate(rows)]
        self._sources.select([slot if kept else row for slot, (row, kept) in enumerate(zip(rows, same, strict=True))])
        self._cache.select(rows)
        self._owners = [self._owners[row] for row in rows]
        self.logits = self.logits[torch.tensor(rows, dtype=torch.int64, device=self._engine.device)]

    def _read(self, tokens: Tensor, layout: Layout, at: Tensor | None, source: tuple[Tensor, Layout] | None) -> Tensor:
        """What a decoder reads begins at step 1, behind its source."""
        layout = replace(layout, step=layout.step + 1)
        states = self._engine.decoder_states(tokens, layout, self._cache, self._sources, source=source, at=at)
        return self._engine.logits(states if at is not None else states[:, -1])


def forbid(
    engine: Engine,
    logits: Tensor,
    sequences: Sequence[RunningSequence],
    generated: Sequence[Sequence[int]],
    way: Autoregressive,
) -> None:
    """In logits [B, V], what may not come next in each row: a sequence's, for which these tokens are generated."""
    begins = [
        (row, first, logits[row, first].clone())  # a forced token keeps what the model gives it: beams add that up
        for row, (one, tokens) in enumerate(zip(sequences, generated, strict=True))
        if not tokens and (first := one.options.forced_bos_token_id) is not None
    ]
    suppress(logits, sequences, engine.suppressed_onwards)
    for row, (one, tokens) in enumerate(zip(sequences, generated, strict=True)):
        if size := one.options.no_repeat_ngram_size:
            # A source that is read bidirectionally may be quoted.
            counted = tokens if way.bidirectional_prompt else [*one.prompt.tolist(), *tokens]
            logits[row, repeating(counted, size)] = -torch.inf
        if len(tokens) < one.options.min_new_tokens:
            logits[row, sorted(one.ends)] = -torch.inf
    for row, first, own in begins:
        logits[row] = -torch.inf
        logits[row, first] = own


def suppress(
    logits: Tensor, sequences: Sequence[RunningSequence], suppressed: Callable[[Collection[int]], Tensor]
) -> None:
    """In every sequence's row of the logits [B, V], what is never generated there, given what ends it."""
    for ends in {one.ends for one in sequences}:
        rows = torch.tensor([row for row, one in enumerate(sequences) if one.ends == ends], device=logits.device)
        logits[rows[:, None], suppressed(ends)] = -torch.inf
