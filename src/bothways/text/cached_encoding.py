"""Encodes much text fast: cut it where no token can cross, and encode each different chunk once.

A tokenizer spends its time on words that it has met before. Where its own first step parts the text at white space
(and around ideographs), a chunk between two such places gets the same tokens wherever it stands, so a dictionary from
chunk to tokens replaces nearly all of the work. What the dictionary does not hold is asked of the tokenizer itself.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from bothways.text.characters import CONTRACTIONS, HAN

_LETTERS = rf"[\p{{L}}\p{{M}}&&[^{HAN}]]"
WORDS = (
    rf"(?<={_LETTERS})'(?:{'|'.join(CONTRACTIONS)})(?!{_LETTERS})|[{HAN}]| ?{_LETTERS}+| ?\p{{N}}{{1,3}}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"
)
"""What a byte-level token of ours may not cross: words with the space before them, English contractions, single
ideographs, up to three digits, other signs, white space. After GPT-2 (Radford et al. 2019, section 2.2), which has no
ideographs, parts letters from their marks and lets digits run."""

_SIGNS = r",.;:!?\"()\[\]_*-"  # no apostrophe: it may belong to the letters after it


def _chunks(ideographs: str) -> re.Pattern[str]:
    """White space, then a plain word, or plain signs, or whatever comes up to the next white space or ideograph.

    A plain word ends before white space or a plain sign, plain signs before white space or a plain letter: there every
    tokenizer below cuts too, and the table stays small. A cut before white space is safe only after a character that
    no library takes for white space, else a run of it would be cut: after any other white space (a no-break space,
    say) the chunk goes on.
    """
    plain = rf"[A-Za-z]++(?![^ \n\t{_SIGNS}])|[{_SIGNS}]++(?![^ \n\tA-Za-z])"
    other = rf"[^ \n\t{ideographs}]+"
    word = rf"(?:[{ideographs}]|{other})" if ideographs else other
    goes_on = rf"(?:(?<=[^\S \n\t])(?:[ \n\t]*{word}|[ \n\t]+))*"
    return re.compile(rf"[ \n\t]*(?:{plain})|[ \n\t]*{word}{goes_on}|[ \n\t]+")


AT_SPACES = _chunks("")
AT_SPACES_AND_HAN = _chunks(HAN)
_OF_BERT = HAN.replace("\U0002b820", "\U0002b920")  # where the library's BERT has ideographs: 256 fewer
AT_SPACES_AND_HAN_OF_BERT = _chunks(_OF_BERT)
_SEGMENT_ENDS = {
    AT_SPACES: re.compile(r"(?<=\S)[ \n\t]"),
    AT_SPACES_AND_HAN: re.compile(rf"(?<=\S)[ \n\t{HAN}]"),
    AT_SPACES_AND_HAN_OF_BERT: re.compile(rf"(?<=\S)[ \n\t{_OF_BERT}]"),
}
_SEGMENT = 1 << 20  # characters cut into chunks at a time: bounds memory for long documents
_KEPT = 1 << 19  # chunks remembered
_ALONE = threading.Lock()  # one for all tables: copies of a tokenizer share theirs, and a lock is not copied


def cuts_of(spec: dict[str, Any]) -> re.Pattern[str] | None:
    """The pattern of chunks that a tokenizer.json treats alike wherever they stand; None when it is not known to."""
    if any(not token["special"] for token in spec["added_tokens"]):
        return None
    normalizer = spec["normalizer"] or {"type": "Sequence", "normalizers": []}
    steps = normalizer.get("normalizers", [normalizer])
    if not {step["type"] for step in steps} <= {"NFC", "BertNormalizer", "Lowercase"}:
        return None
    first = spec["pre_tokenizer"] or {"type": None}
    if first["type"] == "BertPreTokenizer":
        parts = any(step.get("handle_chinese_chars") for step in steps)
        return AT_SPACES_AND_HAN_OF_BERT if parts else AT_SPACES
    if first["type"] == "ByteLevel" and first["use_regex"] and not first["add_prefix_space"]:
        return AT_SPACES
    if first["type"] == "Sequence" and first["pretokenizers"][0].get("pattern") == {"Regex": WORDS}:
        return AT_SPACES_AND_HAN
    return None


class _Numbers(dict[str, int]):
    """chunk -> its number; a chunk met for the first time gets the next one."""

    def __missing__(self, chunk: str) -> int:
        self[chunk] = number = len(self)
        return number


class ChunkEncoder:
    """Texts -> tokens through a table of chunks, which is filled as chunks are met."""

    def __init__(self, cuts: re.Pattern[str], encode: Callable[[list[str]], list[list[int]]]) -> None:
        self._cuts = cuts
        self._encode = encode
        self._forget()

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """All texts' tokens end to end, int32 [N], and the number of tokens of each text, int64 [texts]."""
        with _ALONE:  # else two threads would learn the same chunks, and every later one had the tokens of another
            return self._encoded(texts)

    def _encoded(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        if len(self._numbers) > _KEPT:
            self._forget()
        chunks = [self._number(text) for text in texts]
        self._learn()
        numbers = np.concatenate([np.empty(0, dtype=np.int64), *chunks])  # [chunks]
        sizes = self._ends[numbers + 1] - self._ends[numbers]
        ends = np.cumsum(sizes)
        tokens = self._tokens[np.arange(sizes.sum()) + np.repeat(self._ends[numbers + 1] - ends, sizes)]
        upto = np.concatenate([[0], ends])[np.cumsum([0, *map(len, chunks)])]
        return tokens, np.diff(upto)

    def _forget(self) -> None:
        self._numbers = _Numbers()
        self._tokens = np.empty(0, dtype=np.int32)  # the tokens of all known chunks, end to end
        self._ends = np.zeros(1, dtype=np.int64)  # chunk i's are tokens[ends[i] : ends[i + 1]]

    def _number(self, text: str) -> np.ndarray:
        numbers = [np.empty(0, dtype=np.int64)]
        start = 0
        while start < len(text):
            found = _SEGMENT_ENDS[self._cuts].search(text, start + _SEGMENT)
            stop = found.start() if found else len(text)
            chunks = self._cuts.findall(text, start, stop)
            numbers.append(np.fromiter(map(self._numbers.__getitem__, chunks), np.int64, len(chunks)))
            start = stop
        return np.concatenate(numbers)

    def _learn(self) -> None:
        """Encodes the chunks that were numbered since the last time."""
        new = list(islice(self._numbers, len(self._ends) - 1, None))
        encoded = self._encode(new)
        flat = np.fromiter(chain.from_iterable(encoded), np.int32)
        self._tokens = np.concatenate([self._tokens, flat])
        self._ends = np.concatenate(
            [self._ends, self._ends[-1] + np.cumsum([len(tokens) for tokens in encoded], dtype=np.int64)]
        )
