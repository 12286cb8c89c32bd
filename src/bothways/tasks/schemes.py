"""How tags are written: which begin a name, go on with one or end one. That is decided from all tags together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

OUTSIDE = "O"
SCHEMES = {"BIO": "BI", "BIOES": "BIES", "BILOU": "BILU", "BMES": "BMES", "BMEWO": "BMEW"}
"""{scheme: its letters}: the first begins a name, the second goes on with it."""
_PLAIN = {"M": "I", "L": "E", "U": "S", "W": "S"}
"""Letters of other schemes as BIOES has them."""
_STYLES = tuple(product((False, True), "-_:/", (False, True)))
"""(name first, what stands between, small letters), the usual ways of writing a tag first."""
NAMELESS = "_"
"""The kind of names where tags are letters alone."""
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Scheme:
    """How tags mark names.

    kind      one of `SCHEMES`; empty: the tags are plain, there are no names in them
    outside   the tag of words that are in no name
    parts     {tag: (its letter, the name)}
    odd       tags that do not fit the others: in no name
    style     how they are written, of `_STYLES`; None: as letters alone
    """

    kind: str
    outside: str
    parts: dict[str, tuple[str, str]]
    odd: tuple[str, ...] = ()
    style: tuple[bool, str, bool] | None = None

    @property
    def like(self) -> str:
        """A tag of the scheme."""
        return next(iter(self.parts))

    @property
    def names(self) -> list[str]:
        """What names are of, in alphabetical order."""
        return sorted({name for _, name in self.parts.values()})

    def plain(self, tag: str) -> str:
        """The tag as BIOES has it, which seqeval reads."""
        if tag not in self.parts:
            return OUTSIDE
        letter, name = self.parts[tag]
        return f"{_PLAIN.get(letter, letter)}-{name}"

    def forms(self) -> Iterator[str]:
        """Every tag of every name: with the letters that were seen, and those to begin a name and to go on with it."""
        letters = {letter for letter, _ in self.parts.values()} | set(SCHEMES[self.kind][:2] if self.kind else "")
        for letter, name in product(sorted(letters), self.names):
            yield _written(letter, name, self.style)

    def __str__(self) -> str:
        if not self.kind:
            return "plain, there are no names in them"
        names = ", ".join(self.names[:_SHOWN])
        more = f" and {len(self.names) - _SHOWN} more" if len(self.names) > _SHOWN else ""
        odd = f"; in no name: {', '.join(self.odd)}" if self.odd else ""
        return f"{self.kind}, as in {self.like!r}; names: {names}{more}{odd}"


@lru_cache(maxsize=64)
def scheme_of(tags: tuple[str, ...]) -> Scheme:
    """The scheme that fits most of the different tags. It is taken if it fits all of them and one is outside or begins
    a name; if some do not fit, both must be there, or a name with a beginning and an inside."""
    outside = "o" if "o" in tags and OUTSIDE not in tags else OUTSIDE
    others = sorted({*tags} - {outside})
    found = (
        (kind, style, _parts(others, letters, style)) for style in (*_STYLES, None) for kind, letters in SCHEMES.items()
    )
    kind, style, parts = max(found, key=lambda one: len(one[2]))
    begun = {name for letter, name in parts.values() if letter == "B"}
    gone_on = {name for letter, name in parts.values() if letter in "IMEL"}
    signs = (outside in tags) + bool(begun)
    if not parts or (signs < 1 if len(parts) == len(others) else style is None or not (signs > 1 or begun & gone_on)):
        return Scheme("", outside, {})
    return Scheme(kind, outside, parts, tuple(tag for tag in others if tag not in parts), style)


def _parts(tags: list[str], letters: str, style: tuple[bool, str, bool] | None) -> dict[str, tuple[str, str]]:
    """{tag: (letter, name)} of those that are written so."""
    if style is None:
        return {tag: (tag, NAMELESS) for tag in tags if tag in [*letters]}
    name_first, between, small = style
    found = {}
    for tag in tags:
        letter, sign, name = (tag[-1:], tag[-2:-1], tag[:-2]) if name_first else (tag[:1], tag[1:2], tag[2:])
        if name and sign == between and letter.islower() == small and letter.upper() in [*letters]:
            found[tag] = (letter.upper(), name)
    return found


def _written(letter: str, name: str, style: tuple[bool, str, bool] | None) -> str:
    if style is None:
        return letter
    name_first, between, small = style
    sides = (letter.lower() if small else letter, name)
    return between.join(sides[::-1] if name_first else sides)
