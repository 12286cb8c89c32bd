"""Pieces that were written, as text that goes on from what stands before them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bothways.text import Tokenizer


def spell(tokenizer: Tokenizer, begun: Sequence[int] | np.ndarray, new: Sequence[int]) -> str:
    """The new pieces as text; a character that was cut in the middle at the end is left out."""
    decode = tokenizer.decode
    ends = range(len(new), max(0, len(new) - 4), -1)  # a character is at most four bytes
    whole = next((end for end in ends if not decode(new[:end]).endswith("\ufffd")), 0 if len(new) < 4 else len(new))
    before, after = decode(begun), decode([*begun, *new[:whole]])
    return after.removeprefix(before) if after.startswith(before) else decode(new[:whole])
