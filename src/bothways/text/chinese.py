"""Chinese words by jieba (an extra): for masking whole words where no space parts them."""

from __future__ import annotations

import logging
import warnings

import numpy as np

from bothways.errors import needs


def jieba_starts(text: str) -> np.ndarray:
    """[characters] bool, True where jieba begins a word.

    Raises:
        MachineError: jieba is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jieba's own import uses what setuptools has deprecated
            import jieba
    except ImportError as error:
        raise needs("jieba", "chinese") from error
    jieba.setLogLevel(logging.WARNING)
    starts = np.zeros(len(text), dtype=bool)
    starts[[start for _, start, _ in jieba.tokenize(text)]] = True
    return starts
