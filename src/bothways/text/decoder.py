"""Token numbers back to text."""

from __future__ import annotations

import re
from itertools import groupby

from tokenizers import Tokenizer as Engine

from bothways.text.characters import HAN, WIDE_SIGNS

_SPACES = re.compile(rf"(?<=[{HAN}]) (?=[{HAN}])|(?<=[{WIDE_SIGNS}]) | (?=[{WIDE_SIGNS}])")


class TextDecoder:
    """The text of tokens, special tokens left out.

    spaced  the engine puts a space between any two words (WordPiece): those beside ideographs are taken out
    """

    def __init__(self, engine: Engine, *, spaced: bool) -> None:
        self._engine, self._spaced = engine, spaced
        self._byte_of = _bytes_in(engine)
        self._token_of = {byte: token for token, byte in self._byte_of.items()}

    def __call__(self, tokens: list[int]) -> str:
        """Of a run of byte tokens that is no text, only the bytes that are no character become U+FFFD."""
        text = self._engine.decode(self._whole_characters(tokens), skip_special_tokens=True)
        return _SPACES.sub("", text) if self._spaced else text

    def _whole_characters(self, tokens: list[int]) -> list[int]:
        """The engine's decoder would put U+FFFD in the place of the whole run."""
        if self._byte_of.keys().isdisjoint(tokens):
            return tokens
        found: list[int] = []
        for spelt, group in groupby(tokens, self._byte_of.__contains__):
            run = [*group]
            if spelt:
                text = bytes(self._byte_of[token] for token in run).decode(errors="replace")
                run = [self._token_of[byte] for byte in text.encode()]
            found += run
        return found


def _bytes_in(engine: Engine) -> dict[int, int]:
    """{token: byte} where the tokenizer spells rare characters in bytes (SentencePiece); else nothing."""
    decoder = engine.decoder
    if decoder is None or b"ByteFallback" not in decoder.__getstate__():
        return {}
    tokens = [engine.token_to_id(f"<0x{byte:02X}>") for byte in range(256)]
    return {} if None in tokens else {token: byte for byte, token in enumerate(tokens) if token is not None}
