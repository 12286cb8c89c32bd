"""A small corpus of made-up sentences, and shards of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bothways.corpus import PrepareOptions, Shards, prepare
from tests.conftest import Once

SMALL = PrepareOptions(vocabulary=512, validation=0.1)


def sentences(count: int, *, seed: int = 0) -> list[str]:
    """Different documents of a few sentences."""
    rng = random.Random(seed)
    words = [
        "the",
        "boat",
        "river",
        "hill",
        "old",
        "slow",
        "came",
        "went",
        "at",
        "from",
        "fox",
        "世界",
        "语言",
        "naïve",
    ]
    return [f"Document {seed}-{i}: " + " ".join(rng.choices(words, k=rng.randint(5, 60))) + "." for i in range(count)]


def write_blocks(path: Path, documents: list[str]) -> Path:
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def corpus(once: Once) -> Path:
    return once("corpus", lambda folder: write_blocks(folder / "corpus.txt", sentences(400)))


@pytest.fixture(scope="session")
def tokenizer_folder(corpus: Path, once: Once) -> Path:
    """A tokenizer to give to `prepare`, which saves the time of training one."""

    def make(folder: Path) -> Path:
        prepare([str(corpus)], out=folder / "shards", options=SMALL)
        return folder / "shards" / "tokenizer"

    return once("tokenizer", make)


@pytest.fixture
def make(tmp_path: Path, tokenizer_folder: Path) -> Callable[..., Shards]:
    """Prepares documents (or files) with the given tokenizer."""
    made = 0

    def make(*sources: list[str] | Path | str, **options: object) -> Shards:
        nonlocal made
        made += 1
        names = [
            str(write_blocks(tmp_path / f"source-{made}-{i}.txt", source) if isinstance(source, list) else source)
            for i, source in enumerate(sources)
        ]
        record = SMALL.model_copy(update={"tokenizer": tokenizer_folder, **options})
        prepare(names, out=tmp_path / f"shards-{made}", options=record)
        return Shards.open(tmp_path / f"shards-{made}")

    return make


def documents_of(shards: Shards, split: str) -> list[str]:
    """The split's documents, decoded, in order."""
    stream = getattr(shards, split)
    tokens, _ = stream.read(0, stream.token_count)
    ends = (tokens == shards.vocabulary.sep).nonzero()[0] + 1
    return [shards.tokenizer.decode(tokens[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
