"""Going on with pairs: a model that read texts learns to write a target after its source."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import bothways
from bothways.corpus import PrepareOptions, prepare
from bothways.training.pretraining import pretrain
from tests.training.pretraining.small import configuration, lines

WORDS = {"red": "rot", "blue": "blau", "green": "gelb", "black": "schwarz"}
SETTINGS = ("training.budget.steps=60", "training.optimiser.learning_rate=0.02", "training.validate_every=1.0")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on texts of all the words."""
    folder = tmp_path_factory.mktemp("first")
    rng, words = random.Random(0), [*WORDS, *WORDS.values()]
    text = "\n\n".join(" ".join(rng.choices(words, k=20)) for _ in range(60))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    prepare([str(folder / "text.txt")], out=folder / "shards", options=PrepareOptions(vocabulary=512, validation=0.1))
    return pretrain(configuration(folder / "shards", folder / "run", "model.layers=2", objective="prefix"))


@pytest.mark.parametrize("objective", ["prefix", "causal", "unilm1"])
def test_a_target_is_written_after_its_source(first: Path, objective: str, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text(
        "en\tde\n" + "".join(f"{a} {i}\t{b}\n" for a, b in WORDS.items() for i in range(30)), encoding="utf-8"
    )
    options = PrepareOptions(tokenizer=first, validation=0.1)
    prepare([], pairs=[f"en-de={pairs}"], out=tmp_path / "shards", options=options)
    config = configuration(tmp_path / "shards", tmp_path / "run", *SETTINGS, objective=objective)
    run = pretrain(config.model_copy(update={"start": str(first), "model": {}}))
    assert lines(run)[-1]["loss"] < 0.5  # nats of a token of the targets; nobody foresees the sources
    sources = [f"{word} 7[SEP]" for word in WORDS]
    written = bothways.load(run).generate(sources, max_new_tokens=12, temperature=0, special_tokens=True)
    targets = [text.removeprefix(source) for text, source in zip(written, sources, strict=True)]
    assert targets == list(WORDS.values())
