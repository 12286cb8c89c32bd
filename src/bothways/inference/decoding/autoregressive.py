"""One token after the other, each predicted from those before it, with a cache of what was read.

A text that grows to its left is handed over, and read, backwards: its last token first.

Letters: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bothways.inference.decoding.sampling import repeating, sample
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
    segments      of the prompt and of the rest, for those who have segments
    repeats_last  the prompt's last token is fed again, in its place, to predict the first token after the prompt
    """

    bidirectional_prompt: bool = False
    appends_mask: bool = False
    segments: tuple[int, int] = (0, 0)
    backward: bool = False
    repeats_last: bool = False


AUTOREGRESSIVE = {
    "prefix": Autoregressive(bidirectional_prompt=True),
    "append-mask": Autoregressive(bidirectional_prompt=True, appends_mask=True, segments=(4, 5)),
    "pseudo-mask": Autoregressive(bidirectional_prompt=True, appends_mask=True),
    "target": Autoregressive(bidirectional_prompt=True, repeats_last=True),
    "decoder": Autoregressive(),
    "backward": Autoregressive(backward=True),
}
"""prefix       the prompt bidirectionally, then as GPT (T5's prefix LM, Raffel et al. 2020, section 3.2.1)
append-mask  UniLM (Dong et al. 2019, section 2.4): as its sequence-to-sequence rows are trained
pseudo-mask  the same without segments of its own (UniLM v2, Bao et al. 2020)
target       MASS (Song et al. 2019, section 3.3), its decoder fed with the source's last token first
decoder      GPT
backward     GPT from right to left
"""


class NextToken:
    """`logits` [B, V] float32 of the token that comes next in each row; rows join, go on with `add`, and leave.

    room  how many tokens a row may have
    """

    def __init__(self, engine: Engine, way: Autoregressive, *, rows: int, longest: int) -> None:
        """`rows` at most, of up to `longest` tokens each, where the model reads so many."""
        self._engine, self._way = engine, way
        self._mask = [engine.tokenizer.vocabulary.mask] if way.appends_mask else []
        beside = len(self._mask) + way.repeats_last
        self.room = engine.model.config.length - len(self._mask)
        self._cache = engine.new_cache(rows=rows, capacity=min(self.room, longest) + beside)
        self.logits = torch.empty(0, engine.model.config.vocabulary, device=engine.device)

    @torch.inference_mode()
    def join(self, rows: Sequence[np.ndarray], prompts: Sequence[int]) -> None:
        """Reads rows, of which the first `prompts[i]` tokens are the prompt; they stand behind those at work."""
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

    def forbid(self, logits: Tensor, sequences: Sequence[RunningSequence], generated: Sequence[Sequence[int]]) -> None:
        """In logits [B, V], what may not come next in each row: a sequence's, for which these tokens are generated."""
        suppress(logits, sequences, self._engine.suppressed_onwards)
        for row, (one, tokens) in enumerate(zip(sequences, generated, strict=True)):
            if size := one.options.no_repeat_ngram_size:
                # A source that is read bidirectionally may be quoted.
                counted = tokens if self._way.bidirectional_prompt else [*one.prompt.tolist(), *tokens]
                logits[row, repeating(counted, size)] = -torch.inf
            if len(tokens) < one.options.min_new_tokens:
                logits[row, sorted(one.ends)] = -torch.inf
            if not tokens and (first := one.options.forced_bos_token_id) is not None:
                logits[row] = -torch.inf
                logits[row, first] = 0.0

    def _read(self, tokens: Tensor, layout: Layout, last: Sequence[int]) -> Tensor:
        if self._way.backward:
            layout = replace(layout, position=self._engine.model.config.length - 1 - layout.position)
        at = self._engine.flat(tokens, last)
        states = self._engine.states(tokens, layout, cache=self._cache, at=at)  # [B, D]
        if self._mask:
            lengths = self._cache.lengths  # its token takes the place of [MASK]
            self._cache.keep([*lengths[: len(lengths) - len(tokens)], *(one - 1 for one in lengths[-len(tokens) :])])
        return self._engine.logits(states)


class AutoregressiveDecoding:
    """Sequences that each get one token a step: the likeliest, or one that is sampled."""

    def __init__(
        self, engine: Engine, sequences: Collection[RunningSequence], rows: int, *, way: Autoregressive
    ) -> None:
        self._next = NextToken(engine, way, rows=rows, longest=max(one.longest for one in sequences))
        self.room = self._next.room

    def join(self, sequences: Sequence[RunningSequence]) -> None:
        """Reads what new sequences are so far."""
        self._next.join([one.row() for one in sequences], [one.prompt_length for one in sequences])

    @torch.inference_mode()
    def step(self, sequences: Sequence[RunningSequence]) -> None:
        """Adds a token to each."""
        self._next.forbid(self._next.logits, sequences, [one.tokens for one in sequences])
        add_sampled(self._next.logits, sequences)

    def go_on(self, sequences: Sequence[RunningSequence], rows: Sequence[int]) -> None:
        """Those that stay, which stood in these rows, read their newest token."""
        self._next.select(rows)
        self._next.add(np.array([one.tokens[-1] for one in sequences], dtype=np.int64))


def add_sampled(logits: Tensor, sequences: Sequence[RunningSequence]) -> None:
    """Adds to every sequence the token sampled from its row of the logits [B, V]; several rows are several tokens."""
    chances = np.array([one.random.random() for one in sequences])
    tokens, logprobs = sample(logits, [one.options.sampling for one in sequences], chances)
    for one, token, logprob in zip(sequences, tokens.tolist(), logprobs.tolist(), strict=True):
        one.add(token, logprob)


def suppress(
    logits: Tensor, sequences: Sequence[RunningSequence], suppressed: Callable[[Collection[int]], Tensor]
) -> None:
    """In every sequence's row of the logits [B, V], what is never generated there, given what ends it."""
    for ends in {one.ends for one in sequences}:
        rows = torch.tensor([row for row, one in enumerate(sequences) if one.ends == ends], device=logits.device)
        logits[rows[:, None], suppressed(ends)] = -torch.inf
