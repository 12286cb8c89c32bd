"""Messages as the prompt of a model that answers them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from bothways.inference.engine import Engine
from bothways.text.chat import Message, chat_tokens, checked_messages
from bothways.text.conversation import DAY, fitted


def chat_prompt(engine: Engine, messages: Sequence[Message], *, now: datetime = DAY) -> np.ndarray:
    """The tokens [T] of messages and what opens an answer. A model that was taught instructions answers in the room
    that it was taught; what is too long for it loses its oldest exchanges, with a warning.

    Raises:
        UsageError, ModelError: as `chat_tokens` and `fitted`.
    """
    own = engine.tokenizer
    if engine.writes and engine.writes.chat:
        messages, cut = fitted(own, checked_messages(messages), engine.writes.room(engine.length), now=now)
        if cut:
            warnings.warn(f"the messages are too long for the model: {cut} tokens are left out", stacklevel=6)
    return np.array(chat_tokens(own, messages, now=now), dtype=np.int64)
