"""Writes several tokens a pass: autoregressive with one, non-autoregressive with all, and what lies between (BANG).

The prompt is read from all sides, what was written from left to right; behind it stand as many [MASK]s as tokens are
said in a pass, each of which sees those before it (Qi et al. 2021). Then the tokens said take their places.

Letters: B rows, T tokens, N tokens a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bothways.errors import UsageError
from bothways.inference.decoding.options import GenerationOptions, GrowingText
from bothways.inference.engine import Engine
from bothways.model import Cache


class BangDecoding:
    """Rows of prompts and of what was written, read, and what comes next: N tokens at once."""

    @torch.inference_mode()
    def __init__(self, engine: Engine, rows: Sequence[np.ndarray], *, prompts: Sequence[int], capacity: int) -> None:
        self._reader = engine
        tokens, layout = engine.lay(rows, face="decoder", left=True)
        prompt = torch.tensor(prompts, dtype=torch.int32, device=engine.device)[:, None]  # [B, 1]
        self._cache = Cache(
            engine.model.config, rows=len(rows), capacity=tokens.shape[1] + capacity, like=engine.model.table
        )
        self._next = layout.map(lambda column: column[:, -1:])
        position = self._next.position + 1
        self._next = replace(self._next, position=position, step=position - prompt + 1)
        self._reader.states_after(
            self._cache, tokens, replace(layout, step=(layout.position - prompt + 1).clamp(min=0))
        )

    @torch.inference_mode()
    def ask(self, count: int) -> Tensor:
        """Logits [B, count, V] of the tokens that come next."""
        length = self._cache.length
        ahead = torch.arange(count, dtype=torch.int32, device=self._reader.device)
        place = self._next.map(lambda column: column.expand(-1, count))
        place = replace(place, position=place.position + ahead, group=torch.ones_like(place.group))
        masks = torch.full_like(place.position, self._reader.tokenizer.vocabulary.mask).long()
        states = self._reader.states_after(self._cache, masks, place)
        self._cache.keep(length)
        logits: Tensor = self._reader.model.logits(states).float()
        return logits

    @torch.inference_mode()
    def add(self, tokens: np.ndarray) -> None:
        """Writes tokens [B, N] in every row."""
        count = tokens.shape[1]
        ahead = torch.arange(count, dtype=torch.int32, device=self._reader.device)
        place = self._next.map(lambda column: column.expand(-1, count))
        self._reader.states_after(
            self._cache,
            torch.from_numpy(tokens).to(self._reader.device),
            replace(place, position=place.position + ahead, step=place.step + ahead),
        )
        self._next = replace(self._next, position=self._next.position + count, step=self._next.step + count)


def write_streams(engine: Engine, texts: Sequence[GrowingText], options: GenerationOptions) -> None:
    """Writes all texts to their end, in as many passes as `steps` says; None: one token a pass.

    Raises:
        UsageError: more tokens a pass than the model was taught.
    """
    steps, streams = options.steps or options.max_new_tokens, engine.trained.decoding["streams"]
    count = -(-options.max_new_tokens // steps) if steps else 1
    if count > streams:
        raise UsageError(
            f"{steps} steps for {options.max_new_tokens} tokens are {count} at once, and this model was taught to say "
            f"{streams}: give it {-(-options.max_new_tokens // streams)} steps, or pretrain bang(streams={count})"
        )
    while growing := [text for text in texts if text.left]:
        _grow(engine, growing, options, count)


@torch.inference_mode()
def _grow(engine: Engine, texts: Sequence[GrowingText], options: GenerationOptions, count: int) -> None:
    """Adds tokens to all texts until none grows or one needs its older half forgotten."""
    vocabulary, room = engine.tokenizer.vocabulary, engine.model.config.length - count
    for text in texts:
        text.forget(len(text.new), room)
    rows = [text.row(text.new) for text in texts]
    wanted = -(-max(text.left for text in texts) // count)
    rounds = min(wanted, 1 + (room - max(map(len, rows))) // count)
    streams = BangDecoding(engine, rows, prompts=[text.prompt for text in texts], capacity=(rounds + 1) * count)
    for number in range(rounds):
        logits = streams.ask(count).flatten(0, 1)  # [B * N, V]
        logits[:, engine.silent(vocabulary.ends)] = -torch.inf
        chances = np.concatenate([text.stream.random(count) for text in texts])
        drawn = np.asarray(options.sampling(logits, chances)).reshape(len(texts), count)
        for text, tokens in zip(texts, drawn.tolist(), strict=True):
            for token in tokens:
                if text.left:
                    text.add(token, vocabulary.ends)
        if number == rounds - 1 or not any(text.left for text in texts):
            return
        streams.add(drawn)
