"""The hash of a document, and what is decided by it: its split, its copies, and whether it was seen before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def hash_documents(texts: Sequence[bytes]) -> np.ndarray:
    """[D] uint64: 64-bit BLAKE2b of each document's UTF-8 bytes."""
    digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def in_validation(hashes: np.ndarray, share: float) -> np.ndarray:
    """[D] bool, by the upper half of the hash: adding documents moves none."""
    return (hashes >> np.uint64(32)) < share * 2.0**32


def copies(hashes: np.ndarray, weight: float) -> np.ndarray:
    """[D] int: how often each document stands in the shards; the fraction is decided by the lower half of the hash."""
    whole = int(weight)
    lower = (hashes & np.uint64(0xFFFFFFFF)) / 2.0**32
    return whole + (lower < weight - whole).astype(np.int64)


class Seen:
    """The hashes met so far, 8 bytes each: sorted arrays, of which two of like size are merged into one."""

    def __init__(self) -> None:
        self._sorted: list[np.ndarray] = []

    def add(self, hashes: np.ndarray) -> np.ndarray:
        """[D] bool: True where a hash is met for the first time."""
        unique, first = np.unique(hashes, return_index=True)
        known = np.zeros(len(unique), dtype=bool)
        for run in self._sorted:
            at = np.minimum(np.searchsorted(run, unique), len(run) - 1)
            known |= run[at] == unique
        new = np.zeros(len(hashes), dtype=bool)
        new[first[~known]] = True
        self._keep(unique[~known])
        return new

    def _keep(self, run: np.ndarray) -> None:
        if not len(run):
            return
        while self._sorted and len(self._sorted[-1]) < 2 * len(run):
            run = np.concatenate([self._sorted.pop(), run])
            run.sort(kind="stable")
        self._sorted.append(run)
