"""Several tokens a pass: autoregressive with one, non-autoregressive with all, and what lies between (BANG).

The prompt is read bidirectionally, what was generated causally; behind it stand as many [MASK]s as tokens are predicted
in a pass, each of which sees those before it (Qi et al. 2021). Then the tokens predicted take their places.

Letters: B rows, T tokens, N tokens a pass.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bothways.errors import UsageError
from bothways.inference.decoding.autoregressive import add_sampled
from bothways.inference.decoding.next_token import suppress
from bothways.inference.decoding.options import GenerationOptions
from bothways.inference.decoding.sequence import RunningSequence
from bothways.inference.engine import Engine
from bothways.visibility import Layout


class BangDecoding:
    """Sequences that each get as many tokens a step as their `steps` say; None: one.

    Raises:
        UsageError: more tokens a pass than the model was taught.
    """

    def __init__(self, engine: Engine, sequences: Collection[RunningSequence], rows: int) -> None:
        self._engine, self._streams = engine, engine.abilities.decoding["streams"]
        counts = [self._count(one.options) for one in sequences]
        self.room = engine.model.config.length - self._streams  # whatever the others in the call ask for
        capacity = min(self.room, max(one.longest for one in sequences)) + max(counts)
        self._cache = engine.new_cache(rows=rows, capacity=capacity)

    def _count(self, options: GenerationOptions) -> int:
        """Tokens a pass."""
        steps = options.steps or options.max_new_tokens
        count = -(-options.max_new_tokens // steps)
        if count > self._streams:
            raise UsageError(
                f"{steps} steps for {options.max_new_tokens} tokens are {count} at once, and this model was taught to "
                f"predict {self._streams}: give it {-(-options.max_new_tokens // self._streams)} steps, or pretrain "
                f"bang(streams={count})"
            )
        return count

    def join(self, sequences: Sequence[RunningSequence]) -> None:
        """Reads what new sequences are so far."""
        tokens, layout = self._engine.collate([one.row() for one in sequences], face="decoder")
        self._cache.take(len(sequences))
        self._read(tokens, replace(layout, step=self._steps(layout.position, sequences)))

    @torch.inference_mode()
    def step(self, sequences: Sequence[RunningSequence]) -> None:
        """Adds to each as many tokens as a pass predicts."""
        counts = [self._count(one.options) for one in sequences]
        lengths = list(self._cache.lengths)
        place = self._behind(sequences, counts)
        masks = torch.full_like(place.position, self._engine.tokenizer.vocabulary.mask).long()
        at_once = place.step[:, :1].expand_as(place.step)
        states = self._read(masks, replace(place, group=torch.ones_like(place.group), step=at_once))
        self._cache.keep(lengths)
        logits = self._engine.logits(states[place.real])  # [sum of counts, V]
        owners = [one for one, count in zip(sequences, counts, strict=True) for _ in range(count)]
        plain = logits.clone()
        suppress(logits, owners, self._engine.suppressed)
        add_sampled(logits, owners, plain)

    @torch.inference_mode()
    def advance(self, sequences: Sequence[RunningSequence], rows: Sequence[int]) -> None:
        """Those that stay read their newest tokens."""
        self._cache.select(rows)
        if not sequences:
            return
        counts = [self._count(one.options) for one in sequences]
        tokens = np.zeros((len(sequences), max(counts)), dtype=np.int64)
        for row, (one, count) in enumerate(zip(sequences, counts, strict=True)):
            tokens[row, :count] = one.tokens[-count:]
        self._read(torch.from_numpy(tokens).to(self._engine.device), self._behind(sequences, counts))

    def _behind(self, sequences: Sequence[RunningSequence], counts: Sequence[int]) -> Layout:
        """The next places [B, N] of every sequence, as many as its count; padding behind."""
        layout = self._engine.behind(self._cache, max(counts))
        many = torch.tensor(counts, dtype=torch.int32, device=self._engine.device)[:, None]
        ahead = torch.arange(max(counts), dtype=torch.int32, device=self._engine.device)
        document = layout.document.where(ahead < many, -1 - ahead)
        return replace(layout, document=document, step=self._steps(layout.position, sequences))

    def _steps(self, position: Tensor, sequences: Sequence[RunningSequence]) -> Tensor:
        """0 in the prompt, then 1, 2, 3."""
        prompt = torch.tensor([one.prompt_length for one in sequences], dtype=torch.int32, device=position.device)
        return (position - prompt[:, None] + 1).clamp(min=0)

    def _read(self, tokens: Tensor, layout: Layout) -> Tensor:
        return self._engine.states(tokens, layout, cache=self._cache)
