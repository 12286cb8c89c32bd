"""FLOPs as ELECTRA's authors count them, to compare with published figures (Clark et al. 2020, table 1 and appendix).

Their convention: training is twice the forward pass; embedding look-ups are products with one-hot rows; norms,
softmaxes, dropout and activations count; words are said at 0.15625 of the places; of the two norms of a block one is
counted for a single number. Everywhere else Bothways counts by its own, `ModelConfig.flops_per_token`: forward and
twice that backward, matrix products and attention only, look-ups free.
"""

from __future__ import annotations

from bothways.model.config import ModelConfig

NORM, SOFTMAX, DROPOUT, GELU = 5, 5, 4, 8  # operations a number
SAID = 0.15625  # of the places, where words are said


def electra_training(
    discriminator: ModelConfig, generator: ModelConfig, *, length: int, rows: int, steps: float
) -> float:
    """FLOPs of training both networks for `steps` of so many rows; shapes are classic ones."""
    both = _forward(generator, length, words=True) + _forward(discriminator, length, words=False)
    return 2 * rows * steps * both


def bert_training(config: ModelConfig, *, length: int, rows: int, steps: float) -> float:
    """FLOPs of training a masked language model of a classic shape."""
    return 2 * rows * steps * _forward(config, length, words=True)


def _forward(config: ModelConfig, length: int, *, words: bool) -> float:
    """One row of `length` tokens, with the head that says words or the one that detects."""
    head = _words(config) if words else _detector(config)
    return length * (config.layers * _block(config, length) + _embeddings(config, length) + head)


def _block(config: ModelConfig, length: int) -> float:
    width, inner = config.width, config.inner
    attention = 3 * (2 * width * width + width) + 4 * width * length + 2 * width * width
    scores = (SOFTMAX + DROPOUT + 1) * length * config.heads
    feed_forward = 4 * width * inner + (GELU + 1) * inner + width
    around = width * (1 + DROPOUT + 1) + NORM + width * (DROPOUT + 1) + NORM * width
    return attention + scores + feed_forward + around


def _embeddings(config: ModelConfig, length: int) -> float:
    narrow = config.embedding_width or config.width
    tables = 2 * narrow * config.vocabulary + 2 * narrow * (length + 2) + 2 * narrow
    project = 2 * config.width * narrow + config.width if narrow != config.width else 0
    return tables + (NORM + DROPOUT) * narrow + project


def _words(config: ModelConfig) -> float:
    narrow = config.embedding_width or config.width
    dense = 2 * config.width * narrow + (1 + GELU + NORM) * narrow
    return SAID * (dense + (2 * narrow + SOFTMAX + 2) * config.vocabulary)


def _detector(config: ModelConfig) -> float:
    return 2 * config.width**2 + (1 + GELU) * config.width + 2 * config.width
