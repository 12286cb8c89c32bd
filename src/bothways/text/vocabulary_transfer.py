"""From one tokenizer to another: which old pieces say what a new piece says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bothways.text.tokenizer import Tokenizer


def old_pieces(new: Tokenizer, old: Tokenizer) -> Iterator[np.ndarray]:
    """For every piece of `new`, in order, the pieces of `old` that stand for it; none where nothing of it is known.

    A special piece is that of the same role, a piece that both have is itself, another is spelt by the old tokenizer.
    """
    roles = {getattr(new.vocabulary, role): name for role, name in old.roles.items()}
    same = new.kind == old.kind
    for number, piece in enumerate(new.pieces(range(new.vocabulary.size))):
        known = old.number(roles[number]) if number in roles else old.number(piece) if same and piece else None
        if known is not None:
            yield np.array([known])
        elif number in new.vocabulary.special:
            yield np.zeros(0, dtype=np.int64)
        else:
            yield np.array(old.spelling(new.text_of(number), inside=new.is_inside(number)), dtype=np.int64)
