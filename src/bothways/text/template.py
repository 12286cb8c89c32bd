"""What a tokenizer puts around one text and around two: tokens, and the segment that each belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding
from tokenizers import Tokenizer as Engine

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """one     what stands before and behind one text
    two     what stands before, between and behind two
    second  the segment of the second text and of what closes it (0 or 1)
    first   how many of the tokens between the two are of the first one's segment
    """

    one: tuple[Tokens, Tokens]
    two: tuple[Tokens, Tokens, Tokens]
    second: int = 0
    first: int = 0

    @classmethod
    def of(cls, engine: Engine, *, segments: bool = True) -> Frame:
        """As the engine's own template has it, found out by framing a text of one letter; without `segments`, all
        that its model reads is in one."""
        letter = engine.encode("a", add_special_tokens=False)
        one, two = engine.post_process(letter), engine.post_process(letter, letter)
        (before, after), parts = (_around(encoding, len(letter)) for encoding in (one, two))
        first = sum(not segment for segment in two.type_ids) - len(parts[0]) - len(letter)
        return cls(
            (before, after),
            (parts[0], parts[1], parts[2]),
            two.type_ids[-1] if segments else 0,
            min(first, len(parts[1])),
        )

    def room(self, length: int, texts: int) -> int:
        """How many tokens of text fit into `length`."""
        return length - sum(map(len, self.one if texts == 1 else self.two))

    def around(self, *texts: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Tokens int32 [T] and segments int32 [T] of one text or two with their frame, and where each text begins."""
        frame = self.one if len(texts) == 1 else self.two
        parts: list[np.ndarray] = [np.array(frame[0], dtype=np.int32)]
        begins = []
        for number, text in enumerate(texts):
            begins.append(sum(map(len, parts)))
            parts += [text.astype(np.int32), np.array(frame[number + 1], dtype=np.int32)]
        tokens = np.concatenate(parts)
        segments = np.zeros(len(tokens), dtype=np.int32)
        if len(texts) > 1:
            segments[begins[0] + len(texts[0]) + self.first :] = self.second
        return tokens, segments, begins


def _around(encoding: Encoding, length: int) -> list[Tokens]:
    """The special tokens before, between and behind texts of `length` tokens each."""
    found: list[list[int]] = [[]]
    tokens = iter(zip(encoding.ids, encoding.special_tokens_mask, strict=True))
    for token, special in tokens:
        if special:
            found[-1].append(token)
        else:
            found.append([])
            for _ in range(length - 1):  # the rest of this text
                next(tokens)
    return [tuple(part) for part in found]
