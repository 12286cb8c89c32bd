"""From one tokenizer to another: which old tokens say what a new token says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bothways.text.tokenizer import Tokenizer


def old_tokens(new: Tokenizer, old: Tokenizer) -> Iterator[np.ndarray]:
    """For every token of `new`, in order, the tokens of `old` that stand for it; none where nothing of it is known.

    A special token is that of the same role, a token that both have is itself, another is spelt by the old tokenizer.
    """
    roles = {getattr(new.vocabulary, role): name for role, name in old.roles.items()}
    same = new.kind == old.kind
    for number, token in enumerate(new.tokens(range(new.vocabulary.size))):
        known = old.number(roles[number]) if number in roles else old.number(token) if same and token else None
        if known is not None:
            yield np.array([known])
        elif number in new.vocabulary.special:
            yield np.zeros(0, dtype=np.int64)
        else:
            yield np.array(old.spelling(new.text_of(number), inside=new.is_inside(number)), dtype=np.int64)
