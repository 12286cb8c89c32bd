"""`python -m bothways` is the command line; torchrun needs a module: torchrun --nproc-per-node 2 -m bothways ...

Ctrl-C has its answer before anything slow is imported, so that it never ends in a traceback.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

IMPORTING = "<frozen importlib._bootstrap>"


def main() -> None:
    """The command line; what Ctrl-C ends leaves with 130."""
    signal.signal(signal.SIGINT, _stop)
    from bothways.cli import main

    main()


def _stop(number: int, frame: FrameType | None) -> None:
    os.write(2, b"bothways: stopped\n")  # a print may have been interrupted
    signal.signal(number, _leave)  # it may come twice: from the terminal, and passed on by another process
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:  # what is imported may catch an exception, and go on without numpy
            _leave(number, frame)
        frame = frame.f_back
    raise SystemExit(128 + number)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
