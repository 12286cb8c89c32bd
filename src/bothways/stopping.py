"""SIGTERM and Ctrl-C end whatever is going on, at once, or as soon as what must not be torn is done.

Where they are `heeded`, the first of them raises `Signalled` in the main thread. What must not be torn is `shielded`:
there it is remembered, for `came` to be asked at good moments, and raised at the end. Inside of that, work that may be
left off anywhere is `exposed` again.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

HEEDED = (signal.SIGTERM, signal.SIGINT)
PATIENCE = 20.0  # seconds after which the command line leaves off even what cannot be interrupted
IMPORTING = "<frozen importlib._bootstrap>"


class Signalled(BaseException):
    """A signal came: as KeyboardInterrupt no error, and nothing but what cleans up catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


class _Now:
    """What came, and whether it is to be raised: of the main thread, for the whole program."""

    came = 0
    shielded = False


def came() -> int:
    """The number of the signal that came first, or 0."""
    return _Now.came


def is_shielded() -> bool:
    """Whether what comes is only remembered now."""
    return _Now.shielded and _is_told()


def _is_told() -> bool:
    """Whether this is the main thread: no other is told of signals, or may say that it must not be torn."""
    return threading.current_thread() is threading.main_thread()


def _heed(number: int, frame: FrameType | None) -> None:
    """What comes again is nothing new: it comes from the terminal, and passed on by another process."""
    if _Now.came:
        return
    _Now.came = number
    if not _Now.shielded:
        raise Signalled(number)


def _heed_importing(number: int, frame: FrameType | None) -> None:
    """As `_heed`; but what is imported may catch an exception, and go on without numpy."""
    above = frame
    while above is not None and not _Now.shielded:
        if above.f_code.co_filename == IMPORTING:
            _leave(number, b"")
        above = above.f_back
    _heed(number, frame)


def _leave(number: int, why: bytes) -> None:
    os.write(2, f"bothways: {Signalled(number)}".encode() + why + b"\n")  # a print may have been interrupted
    os._exit(128 + number)


def heed_always() -> None:
    """Of the command line: both are heeded from now on, and what cannot be interrupted is left off after PATIENCE."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in HEEDED:
        signal.signal(number, _heed_importing)
    atexit.register(_ignore)
    threading.Thread(target=_leave_in_time, args=(reading,), daemon=True).start()


def _ignore() -> None:
    """All is done and said when Python takes itself apart: it would hand both back to the system, which kills."""
    for number in HEEDED:
        signal.signal(number, signal.SIG_IGN)


def _leave_in_time(reading: int) -> None:
    """A thread is told of a signal even while the main one computes outside of Python, and hears nothing."""
    while True:
        number = os.read(reading, 1)[0]
        if signal.getsignal(number) is _heed_importing:
            time.sleep(PATIENCE)
            _leave(number, f"; what was going on did not end within {PATIENCE:.0f} s and is left out".encode())


@contextmanager
def heeded() -> Iterator[None]:
    """Both are heeded inside, whoever calls; but only in the main thread, since others are not told of signals."""
    if not _is_told() or signal.getsignal(signal.SIGTERM) in (_heed, _heed_importing):
        yield
        return
    try:
        with handled(_heed):
            yield
    finally:
        _Now.came = 0  # it is over: who goes on in this Python is not stopped by it


@contextmanager
def handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Both are handled so inside; in another thread than the main one, which alone is told of signals, as outside."""
    if not _is_told():
        yield
        return
    ours = [number for number in HEEDED if signal.getsignal(number) is not None]  # C's own could not be put back
    before = {number: signal.signal(number, handler) for number in ours}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def shielded() -> Iterator[None]:
    """What is done inside is not torn; in another thread than the main one nothing is, and nothing changes.

    Raises:
        Signalled: at its end, of what came meanwhile.
    """
    if not _is_told():
        yield
        return
    before, _Now.shielded = _Now.shielded, True
    try:
        yield
    finally:
        _Now.shielded = before
    if _Now.came and not before:
        raise Signalled(_Now.came)


@contextmanager
def exposed() -> Iterator[None]:
    """What is done inside `shielded` may be left off here, anywhere.

    Raises:
        Signalled: at once.
    """
    if not (before := is_shielded()):
        yield
        return
    try:
        _Now.shielded = False
        if _Now.came:
            raise Signalled(_Now.came)
        yield
    finally:
        _Now.shielded = before
