"""Word vectors from prepared shards: the whole of a run, and what its loss is measured against."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from bothways.arguments import checked
from bothways.config import Frozen
from bothways.corpus import Shards
from bothways.errors import DivergedError, UsageError
from bothways.word_vectors.batches import CHUNK, Batches
from bothways.word_vectors.cbow import Cbow
from bothways.word_vectors.store import WordVectors
from bothways.word_vectors.words import WordCounts, WordText, read_words

LEARNING_RATES = {"exact": 0.15, "word2vec": 0.025}
_HELD_OUT = 1 << 18  # held-out words at most
_LOWEST = 1e-4  # the learning rate at the end, as a share of that at the beginning


class CbowConfig(Frozen):
    """The defaults are word2vec's and gensim's, but for the gradient and its learning rate."""

    dim: int = Field(default=100, ge=1, description="Numbers in a vector.")
    window: int = Field(
        default=5, ge=1, description="Words to either side at most; each window's reach is drawn from 1 to this."
    )
    min_count: int = Field(default=5, ge=1, description="A word that occurs less often is left out.")
    negative: int = Field(default=5, ge=1, description="Negatives a word.")
    sample: float = Field(
        default=0.001, ge=0, description="Words with a larger share of the text are left out at random; 0 keeps all."
    )
    epochs: int = Field(default=5, ge=1, description="Epochs of training.")
    gradient: Literal["exact", "word2vec"] = Field(
        default="exact", description="exact: that of the mean; word2vec: not divided by the number of context words."
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="At the beginning, falling in a line to nearly nothing; left out, 0.15 exact, 0.025 word2vec.",
    )
    lowercase: bool = Field(default=False, description="The and the are one word.")
    seed: int = Field(default=0, ge=0, description="Of everything random.")


@dataclass(frozen=True, slots=True)
class Losses:
    """The loss of negative sampling on held-out text, nats a word.

    cbow       of the trained vectors
    unigram    of the best model that looks at no context: the logarithm of p(w) / (k q(w) (1 - p(w))) for every word
    untrained  of vectors that know nothing: (1 + k) log 2, less where a negative is the word itself and skipped
    """

    cbow: float
    unigram: float
    untrained: float


@dataclass(frozen=True, slots=True)
class CbowResult:
    """What a run gives: the vectors, their loss (None without held-out text), and words read a second in training."""

    vectors: WordVectors
    losses: Losses | None
    words_per_second: float


@checked
def train_cbow(
    shards: str | Path,
    config: CbowConfig | None = None,
    *,
    show: Callable[[dict[str, Any]], object] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> CbowResult:
    """Trains word vectors on the training text of prepared shards.

    Args:
        shards: a folder made by `prepare`.
        config: how.
        show: takes lines as of metrics.jsonl while it goes on, such as training.display.Display.
        clock: seconds.

    Raises:
        DataError: no shards there, or no word that occurs often enough.
        UsageError: `sample` leaves no word.
        DivergedError: the learning rate was too high.
    """
    config = config or CbowConfig()
    words, text, held_out = read_words(Shards.open(shards), min_count=config.min_count, lowercase=config.lowercase)
    held_out = WordText(held_out.words[:_HELD_OUT], held_out.documents[:_HELD_OUT])
    batches = Batches(
        words, window=config.window, negative=config.negative, sample=config.sample, readings=config.epochs
    )
    model = Cbow.new(len(words.spelled), config.dim, torch.Generator().manual_seed(config.seed))
    last: dict[str, dict[str, Any]] = {}
    for line in _train(model, batches, (text, held_out), config, clock):
        last[line["kind"]] = line
        if show:
            show(line)
    reached = last.get("validation")
    losses = Losses(reached["losses"]["cbow"], *_without_context(batches, words, held_out)) if reached else None
    return CbowResult(WordVectors(words.spelled, model.inputs.numpy()), losses, last["train"]["tokens_per_second"])


def _train(
    model: Cbow, batches: Batches, texts: tuple[WordText, WordText], config: CbowConfig, clock: Callable[[], float]
) -> Iterator[dict[str, Any]]:
    """Trains on the first text, and tells how it goes: a line a chunk, and one of the second text after every epoch."""
    (text, held_out), divided = texts, config.gradient == "exact"
    first = config.learning_rate or LEARNING_RATES[config.gradient]
    total, read, step, begun = config.epochs * len(text.words), 0, 0, clock()
    for epoch in range(config.epochs):
        for done, batch in batches(text, (config.seed, epoch)):
            rate = first * max(1 - read / total, _LOWEST)  # by the words before the batch
            step, read = step + 1, epoch * len(text.words) + done
            model.step(batch, rate, divided=divided)
            if done % CHUNK == 0 or done == len(text.words):
                loss = float(model.loss(batch)) / len(batch.words)
                if not math.isfinite(loss):
                    raise DivergedError(f"the loss became {loss}: choose less than --set learning_rate={first:g}")
                yield {
                    "kind": "train",
                    "step": step,
                    "progress": read / total,
                    "tokens": read,
                    "tokens_per_second": read / (clock() - begun),
                    "losses": {"cbow": loss},
                    "learning_rate": rate,
                }
        if not step:
            raise UsageError(
                f"sample={config.sample:g} leaves no word of the text: give more, or --set sample=0 for all"
            )
        if (reached := _mean_loss(model, batches, held_out, config)) is not None:
            yield {"kind": "validation", "step": step, "losses": {"cbow": reached}}


def _mean_loss(model: Cbow, batches: Batches, text: WordText, config: CbowConfig) -> float | None:
    """Nats a word of a text, always with the same draws; None when they leave no word."""
    found = [(float(model.loss(batch)), len(batch.words)) for _, batch in batches(text, (config.seed,))]
    return sum(loss for loss, _ in found) / sum(count for _, count in found) if found else None


def _without_context(batches: Batches, words: WordCounts, text: WordText) -> tuple[float, float]:
    """The losses `unigram` and `untrained` of a text, exactly: no negative is drawn, all are weighed."""
    p, held = (
        counts * batches.keep / (counts @ batches.keep)
        for counts in (words.counts, np.bincount(text.words, minlength=len(words.counts)))
    )
    q, k = batches.noise, batches.negative

    def loss(scores: np.ndarray) -> float:
        negative = q * np.logaddexp(0, scores)
        return float(held @ (np.logaddexp(0, -scores) + k * (negative.sum() - negative)))

    with np.errstate(divide="ignore"):  # a text of one word alone: it is never its own negative
        return loss(np.log(p) - np.log(k * q * (1 - p))), loss(np.zeros_like(p))
