"""SIGTERM and Ctrl-C, remembered until the step that is going on is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def signals() -> Iterator[Callable[[], int]]:
    """Remembers SIGTERM and Ctrl-C instead of dying of them; the callable gives the signal's number, or 0."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    wanted = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda came, _: caught.append(came)) for number in wanted}
    try:
        yield lambda: caught[0] if caught else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
