"""Rows as the model sees them, for the eye."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bothways.batch import Row
from bothways.corpus.rows import Rows
from bothways.corpus.shards import Shards
from bothways.text import Tokenizer
from bothways.visibility import places


def show_rows(shards: Shards, *, count: int = 2, length: int = 64, seed: int = 0) -> str:
    """The first `count` rows of the first epoch: each document's positions, and its tokens with | before every word."""
    rows = Rows(shards.train, shards.vocabulary, length=length, seed=seed)
    parts = [f"{len(rows)} rows of {length} an epoch"]
    for index in range(count):
        parts += [f"\nrow {index}", *_documents(rows[index], shards.tokenizer, shards.manifest.languages)]
    return "\n".join(parts)


def _documents(row: Row, tokenizer: Tokenizer, languages: Sequence[str]) -> list[str]:
    lines = []
    position = places(row.document)
    for document in range(int(row.document.max()) + 1):
        mine = row.document == document
        tokens = zip(_spelled(tokenizer, row.tokens[mine]), row.word_starts[mine], strict=True)
        text = "".join(("|" if start else "·") + token for token, start in tokens)
        named = "" if row.language is None else f" ({_spoken(row.language[mine], languages)})"
        target = "" if row.part is None else f", target from {position[mine][row.part[mine] > 0][0]}"
        lines.append(f"  document {document}{named}, positions 0-{position[mine][-1]}{target}: {text}")
    padding = int((row.document < 0).sum())
    return [*lines, f"  padding: {padding}"] if padding else lines


def _spoken(numbers: np.ndarray, languages: Sequence[str]) -> str:
    """The document's language, or those of a pair: "en", "en-fr"."""
    return "-".join(languages[number] for number in dict.fromkeys(numbers.tolist()))


def _spelled(tokenizer: Tokenizer, tokens: np.ndarray) -> list[str]:
    """Each token decoded where it is whole characters, else as its tokenizer spells it; specials by name."""
    special = tokenizer.vocabulary.special
    return [
        name if number in special or "\ufffd" in (text := tokenizer.decode([number])) else text.replace("\n", "⏎")
        for number, name in zip(tokens.tolist(), tokenizer.tokens(tokens), strict=True)
    ]
