"""What the commands that ask a model are asked: texts on the command line, or the lines of a file or of its input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, TypeVar

import typer

T = TypeVar("T")
AT_ONCE = 256  # texts of a file in memory, answered together
STANDARD_INPUT = Path("-")

Texts = Annotated[
    list[str],
    typer.Argument(
        metavar="TEXT",
        help="One or more texts, each in quotes. Left out, or -, they are the lines of the standard input.",
        default_factory=list,
        show_default=False,
    ),
]
TextFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        help="Ask about the texts of this file instead: a line each, empty ones left out, or the field of jsonl, csv, "
        "tsv or parquet that is called text, sentence, 文本 and the like; - is the standard input.",
    ),
]


@dataclass(frozen=True)
class Asked:
    """The texts of a command, some at once; `source` is where they stand, "" for the command line."""

    batches: Iterable[tuple[str, ...]]
    source: str

    def each(self, ask: Callable[[list[str], int], Sequence[T] | Iterable[T]]) -> Iterator[tuple[str, T]]:
        """(text, answer) of each, in order; `ask` is given texts, and how many were asked about before.

        Raises:
            BothwaysError: whatever `ask` raises; beyond the first texts of a file it is said which they are.
        """
        from bothways.errors import BothwaysError

        before = 0
        for texts in self.batches:
            try:
                answers = ask(list(texts), before)
            except BothwaysError as error:
                if not before:
                    raise
                place = f"texts {before + 1:,} to {before + len(texts):,} of {self.source}, counted from the first"
                raise type(error)(f"{place}: {error}") from None
            yield from zip(texts, answers, strict=True)
            before += len(texts)


def asked(texts: Sequence[str], file: Path | None) -> Asked:
    """The texts that were given, one way or another; the first of a file are read at once, before a model is.

    Raises:
        UsageError: none, and nobody is to write them; or texts in both places.
        DataError: a file that cannot be read, or holds no text.
    """
    from bothways.errors import DataError, UsageError

    if texts and file is not None:
        raise UsageError(f"expected texts or --file {file}, got both: leave one of them out")
    if texts and list(texts) != [str(STANDARD_INPUT)]:
        return Asked([tuple(texts)], "")
    if file is None and not texts and sys.stdin.isatty():
        raise UsageError(
            "expected a text, got none: write one in quotes, name a file of them, --file texts.txt, or send them, a "
            "line each, to the standard input: ... | bothways COMMAND MODEL"
        )
    source = "the standard input" if file in (None, STANDARD_INPUT) else str(file)
    found = _read(file or STANDARD_INPUT)
    batches = iter(lambda: tuple(islice(found, AT_ONCE)), ())
    first = next(batches, None)
    if first is None:
        raise DataError(f"{source}: expected texts, one a line, got none")
    return Asked(chain([first], batches), source)


def _read(file: Path) -> Iterator[str]:
    """The texts of a file, empty ones left out."""
    from bothways.corpus.lines import kept, lines_of, refuse
    from bothways.tasks.texts import texts_of

    if file != STANDARD_INPUT:
        return texts_of(file)
    found = (line for _, _, line in kept(lines_of(sys.stdin.buffer), Path("standard input"), refuse))
    return filter(None, map(str.strip, found))
