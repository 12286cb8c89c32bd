"""How probable a text is.

Letters: B rows, T tokens, D width, N places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bothways.errors import UsageError, unknown
from bothways.inference.engine import Engine
from bothways.inference.shared_prefix import read_shared

WAYS = ("causal", "pseudo")


def score(
    engine: Engine, texts: Sequence[str], *, how: str = "causal", within_word: bool = False, ended: bool = False
) -> np.ndarray:
    """Sum of the log-probabilities of a text's tokens in nats, float64 [texts]; what stands before it ([CLS]) is given,
    or its first token where nothing does; what stands behind it ([SEP]) is not counted.

    A text longer than the model reads is scored in parts, each on its own.

    Args:
        how: "causal": each token after those before it. "pseudo": each token hidden alone among all others (Salazar et
            al. 2020, section 2); no probability of the text, yet good for comparing two texts.
        within_word: pseudo: the later tokens of its word are hidden with it, else a long word tells itself (Kauf &
            Ivanova 2023, section 2: "within-word left-to-right").
        ended: causal: all tokens of the text are counted and the [SEP] behind it too, as bits per byte count them;
            where nothing stands before a text, the token that begins one is given, or that ends one.

    Raises:
        UsageError: an unknown way, or an option that is for the other one; `ended` where no token begins or ends one.
        ModelError: the objective did not teach it.
    """
    return _scored(engine, texts, how=how, within_word=within_word, ended=ended)[0]


def perplexity(engine: Engine, texts: Sequence[str], *, how: str = "causal", within_word: bool = False) -> np.ndarray:
    """exp of the mean negative log-likelihood of a text's tokens, float64 [texts]: of those that `score` counts.

    With how="pseudo" it is the pseudo-perplexity (Salazar et al. 2020, section 2.3).

    Raises:
        UsageError: a text with no token to predict; or as `score`.
        ModelError: the objective did not teach it.
    """
    sums, counts = _scored(engine, texts, how=how, within_word=within_word)
    if len(empty := np.flatnonzero(counts == 0)):
        text = texts[empty[0]]
        raise UsageError(f"text {empty[0] + 1}: expected a text with a token to predict, got {text!r}. Leave it out.")
    return np.asarray(np.exp(-sums / counts))


def _scored(
    engine: Engine, texts: Sequence[str], *, how: str, within_word: bool, ended: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The sums of `score` and how many tokens each is of, [texts] both."""
    if how not in WAYS:
        raise unknown("way of scoring", how, WAYS)
    if how == "pseudo":
        if ended:
            raise UsageError('ended is for how="causal": of a pseudo-log-likelihood a [SEP] tells nothing')
        return _pseudo(engine, texts, within_word=within_word)
    if within_word:
        raise UsageError('within_word hides tokens, which only how="pseudo" does; leave it out, or score that way')
    return _causal(engine, texts, ended=ended)


def _causal(engine: Engine, texts: Sequence[str], *, ended: bool) -> tuple[np.ndarray, np.ndarray]:
    engine.needs("decoder")
    bare = ended and not engine.around(closed=False)[0]
    rows, text_of = engine.rows(texts, closed=False, longest=engine.model.config.length - 1 if bare else None)
    if bare:
        rows = [np.concatenate([engine.tokenizer.nothing, row]) for row in rows]
    sep = engine.tokenizer.vocabulary.sep
    if ended and sep >= 0:  # the last part of a text
        last = np.append(text_of[1:] != text_of[:-1], True)
        rows = [np.append(row, sep) if end else row for row, end in zip(rows, last, strict=True)]
    sums, counts = np.zeros(len(texts)), [len(row[engine.given :]) for row in rows]
    np.add.at(sums, text_of, continued(engine, rows, [np.ones(count) for count in counts]))
    return sums, np.bincount(text_of, counts, len(texts))


def score_after(
    engine: Engine, prompts: Sequence[np.ndarray], texts: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the log-probabilities of texts in nats, float64 [texts], each after its prompt, and how many tokens each
    has; both are ids, int [T], the prompt with what stands before every text. Where both are more than the model reads,
    the beginning of the prompt is left out, and what of the text is left then.

    Raises:
        ModelError: the objective did not teach it.
    """
    engine.needs("decoder")
    rows = [np.concatenate([prompt, text])[-engine.length :] for prompt, text in zip(prompts, texts, strict=True)]
    counts = [min(len(text), len(row) - 1) for row, text in zip(rows, texts, strict=True)]
    return continued(engine, rows, [np.ones(count) for count in counts]), np.array(counts)


@torch.inference_mode()
def continued(engine: Engine, rows: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> np.ndarray:
    """Sum of the log-probabilities of the last tokens of each row in nats, each after all that stand before it, times
    its weight, float64 [rows]; one token of a row is given at least. What rows begin with alike is read once."""
    labels = [row[len(row) - len(some) :] for row, some in zip(rows, weights, strict=True)]
    read = [row[: max(1, len(row) - 1)] for row in rows]
    sums = np.zeros(len(rows))
    size = engine.model.config.vocabulary
    for some, states in read_shared(engine, read):
        own = [one for line, shared in enumerate(some) for one in shared.places(read, line, states.shape[1])]
        predicted = np.concatenate([at[len(at) - len(labels[number]) :] * size + labels[number] for number, at in own])
        # What a prefix predicts is predicted once for all its branches.
        once, again = np.unique(predicted, return_inverse=True)
        hidden = states.flatten(0, 1)[torch.from_numpy(once // size).to(engine.device)]  # [N, D]
        found = engine.log_probabilities(hidden, once % size)[again]
        weighted = found * np.concatenate([weights[number] for number, _ in own])
        np.add.at(sums, np.concatenate([np.full(len(labels[number]), number) for number, _ in own]), weighted)
    return sums


@torch.inference_mode()
def _pseudo(engine: Engine, texts: Sequence[str], *, within_word: bool) -> tuple[np.ndarray, np.ndarray]:
    engine.needs("hidden")
    rows, text_of = engine.rows(texts, closed=True)
    ends = [_word_ends(engine, row) if within_word else np.arange(1, len(row) + 1) for row in rows]
    inside = [engine.inside(row) for row in rows]
    owner = np.repeat(np.arange(len(rows)), [len(some) for some in inside])
    places = np.concatenate([np.zeros(0, dtype=np.int64), *inside])
    before = engine.abilities.hidden == "before"
    sums = np.zeros(len(texts))
    for batch in engine.passes([len(rows[i]) for i in owner]):
        hidden_rows = [rows[i].copy() for i in owner[batch]]
        for row, i, place in zip(hidden_rows, owner[batch], places[batch], strict=True):
            row[place : ends[i][place]] = engine.tokenizer.vocabulary.mask
        hidden = engine.read(hidden_rows, face="encoder", places=places[batch] - before)  # [B, D]
        labels = np.array([rows[i][place] for i, place in zip(owner[batch], places[batch], strict=True)])
        np.add.at(sums, text_of[owner[batch]], engine.log_probabilities(hidden, labels))
    return sums, np.bincount(text_of[owner], minlength=len(texts))


def _word_ends(engine: Engine, row: np.ndarray) -> np.ndarray:
    """[T] for each place, where the word ends that it stands in."""
    starts = np.append(np.flatnonzero(engine.tokenizer.word_starts(row)), len(row))
    return starts[np.searchsorted(starts, np.arange(len(row)), side="right")]
