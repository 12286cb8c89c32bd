"""How words get onto a terminal: as they are, whole, and ready to be copied.

What others wrote (a path, a label, a word) is a string, and no string is ever parsed as markup; what is to be bold or
dim is a rich Text. Lines are not wrapped: a terminal does that itself, and copies them whole.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unicodedata import east_asian_width

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
WIDE = 1 << 16  # columns: more than any line has


def say(text: str = "", *, error: bool = False) -> None:
    """A line, or several, on standard output or standard error; there what a name may hold to command a terminal is
    escaped."""
    print(_CONTROLS.sub(_escaped, text) if error else text, file=sys.stderr if error else sys.stdout, flush=True)


def _escaped(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1]


def draw(*what: RenderableType, wrap: bool = False) -> None:
    """Tables and styled text on standard output; `wrap`: prose, folded into the terminal's width where it is one."""
    for table in what:
        for column in table.columns if isinstance(table, Table) else ():
            column.overflow = "fold"  # rich would cut long words off
    console(wrap=wrap).print(*what)


def console(*, wrap: bool = True) -> Console:
    """Standard output, without markup; without end to the right unless it is a terminal and `wrap` fits it in."""
    fits = wrap and sys.stdout.isatty()
    width, height = (None, None) if fits else (WIDE, 25)  # for rich a width counts only beside a height
    return Console(markup=False, emoji=False, highlight=False, width=width, height=height)


def bold(text: str) -> Text:
    """Text in bold."""
    return Text(text, style="bold")


def dim(text: str) -> Text:
    """Text that stands back."""
    return Text(text, style="dim")


def compact(number: float) -> str:
    """Three figures and a letter: 2400 is 2.4k, 20480000 is 20.5M."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def in_bytes(size: float) -> str:
    """Three figures and a unit: 1.5e9 is 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.3g} {unit}"


def command(*words: object) -> str:
    """A command of ours as one types it, quoted for a shell: `bothways fill 'my run' '... [MASK] ...'`."""
    return shlex.join(["bothways", *map(_typed, words)])


def _typed(word: object) -> str:
    """A path that begins with a dash would be read as an option."""
    return f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)


class Status:
    """One line on standard error that the next overwrites, where somebody waits at a terminal; elsewhere nothing."""

    def __init__(self) -> None:
        self._shown = 0

    def __call__(self, text: str = "") -> None:
        """Shows a text; none wipes out what was there."""
        if sys.stderr.isatty():
            wiped = f"\r{' ' * self._shown}\r" if self._shown else ""
            print(f"{wiped}{text}", end="", file=sys.stderr, flush=True)
            self._shown = len(text)


def bar(count: int) -> Callable[[int, int], None]:
    """A bar on standard error, in terminals and notebooks, told (done, of how many); it is closed when all is done."""
    from tqdm import tqdm

    shown = tqdm(total=count, unit=" texts")

    def tell(done: int, of: int) -> None:
        shown.update(done - shown.n)
        if done == of:
            shown.close()

    return tell


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Says what is going on, and wipes it out when it is done."""
    status = Status()
    status(f"{what} ...")
    try:
        yield
    finally:
        status()


def wide(text: str) -> int:
    """How wide a text is in a font of one width, in Latin letters; a Chinese character is as wide as two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
