"""A run on a small text: it learns what words mean, beats what knows no context, and is the same every time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bothways.corpus import PrepareOptions, prepare
from bothways.errors import DivergedError, UsageError
from bothways.word_vectors import CbowConfig, CbowResult, train_cbow

KINDS = [
    "monday tuesday wednesday thursday friday saturday sunday".split(),
    "one two three four five six seven eight nine".split(),
    "boat ship raft canoe barge ferry".split(),
]
CONFIG = CbowConfig(dim=24, min_count=1, sample=0, epochs=8)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three thousand sentences in which a word's kind, and nothing else, tells where it stands."""
    folder = tmp_path_factory.mktemp("text")
    rng = np.random.default_rng(0)
    lines = [
        f"on {a} morning we counted {b} crates from the old {c} at the quay"
        for a, b, c in zip(*(rng.choice(kind, 3000) for kind in KINDS), strict=True)
    ]
    (folder / "a.txt").write_text("\n".join(dict.fromkeys(lines)), encoding="utf-8")
    options = PrepareOptions(documents="lines", vocabulary=512, validation=0.1)
    prepare([str(folder / "a.txt")], out=folder / "shards", options=options)
    return folder / "shards"


@pytest.fixture(scope="module", params=["exact", "word2vec"])
def trained(request: pytest.FixtureRequest, shards: Path) -> CbowResult:
    return train_cbow(shards, CONFIG.model_copy(update={"gradient": request.param}))


def test_neighbours_are_of_a_kind(trained: CbowResult) -> None:
    """Of a word's nearest as many as its kind has others; at random a fifth would be right."""
    right, of = 0, 0
    for kind in KINDS:
        for word in kind:
            near = [other for other, _ in trained.vectors.nearest(word, count=len(kind) - 1)]
            right, of = right + len({*near} & {*kind}), of + len(near)
    assert right / of > 0.9


def test_it_beats_what_knows_no_context(trained: CbowResult) -> None:
    losses = trained.losses
    assert losses is not None
    assert losses.cbow < 0.8 * losses.unigram < losses.untrained
    assert 0.8 * 6 * math.log(2) < losses.untrained <= 6 * math.log(2)


def test_what_it_tells(shards: Path) -> None:
    lines: list[dict[str, object]] = []
    seconds = iter(range(1000))
    found = train_cbow(shards, CONFIG.model_copy(update={"epochs": 2}), show=lines.append, clock=lambda: next(seconds))
    assert [line["kind"] for line in lines] == ["train", "validation"] * 2
    assert lines[2]["progress"] == 1 and lines[2]["tokens"] == 2 * lines[0]["tokens"]  # type: ignore[operator]
    assert found.losses is not None and lines[3]["losses"] == {"cbow": found.losses.cbow}
    assert found.words_per_second == lines[2]["tokens_per_second"]


def test_one_reading_of_a_small_text_is_learned(shards: Path) -> None:
    """The rate falls with the words that were read, batch by batch."""
    rates: list[float] = []
    config = CONFIG.model_copy(update={"epochs": 1})
    losses = train_cbow(shards, config, show=lambda line: rates.append(line.get("learning_rate", 1.0))).losses
    assert losses is not None and losses.cbow < 0.9 * losses.untrained
    assert 0 < min(rates) < 0.5 * (config.learning_rate or 0.1)


def test_a_seed_gives_the_same_vectors(shards: Path) -> None:
    config = CONFIG.model_copy(update={"epochs": 1})
    one, same, other = (
        train_cbow(shards, config.model_copy(update={"seed": seed})).vectors.vectors for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same) and not np.allclose(one, other)


def test_a_rate_that_is_too_high(shards: Path) -> None:
    with pytest.raises(DivergedError, match="less than --set learning_rate=1e"):
        train_cbow(shards, CONFIG.model_copy(update={"learning_rate": 1e30}))


def test_a_sample_that_leaves_nothing(shards: Path) -> None:
    with pytest.raises(UsageError, match="sample=1e-30 leaves no word"):
        train_cbow(shards, CONFIG.model_copy(update={"sample": 1e-30}))
