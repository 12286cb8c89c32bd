"""`python -m bothways` is the command line; torchrun needs a module: torchrun --nproc-per-node 2 -m bothways ...

Signals have their answer before anything slow is imported, so that none ends in a traceback.
"""

from __future__ import annotations

from bothways.stopping import heed_always


def main() -> None:
    """The command line; what SIGTERM ends leaves with 143, what Ctrl-C ends with 130."""
    heed_always()
    from bothways.cli import main

    main()


if __name__ == "__main__":
    main()
