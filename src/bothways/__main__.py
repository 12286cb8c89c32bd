"""`python -m bothways` is the command line; torchrun needs a module: torchrun --nproc-per-node 2 -m bothways ..."""

from __future__ import annotations

from bothways.cli import main

if __name__ == "__main__":
    main()
