"""What a finished run says of text it never saw: what its objective taught, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bothways.batch import Row
from bothways.model import Trained
from bothways.pretraining.samples import samples
from tests.inference.made import CAUSAL, ENGLISH, HYBRID, MLM, REVERSED, UNILM1, load, make_run, tokenizer


def row_of(text: str) -> Row:
    vocabulary = tokenizer().vocabulary
    pieces = np.array([vocabulary.cls, *tokenizer().encode(text)], dtype=np.int32)
    return Row(pieces, np.zeros(len(pieces), dtype=np.int32), tokenizer().word_starts(pieces))


@pytest.mark.parametrize(
    ("trained", "fills", "continues"),
    [
        (CAUSAL, False, True),
        (HYBRID, True, True),
        (MLM, True, False),
        (Trained("mlm", ("encoder",), "in place", {"unmask": 0}), True, True),
        (UNILM1, True, True),
        (REVERSED, False, True),
    ],
    ids=lambda value: value.objective if isinstance(value, Trained) else "",
)
def test_what_was_taught_is_shown(trained: Trained, fills: bool, continues: bool, tmp_path: Path) -> None:
    """Whole sentences only: what the row's edges may have cut is left out."""
    sentence = "The quick brown fox with small eyes jumps over some lazy dogs."
    found = samples(load(make_run(tmp_path / "run", trained)), [row_of(f"{ENGLISH[1]} {sentence} {ENGLISH[0]}")])
    assert bool(found["fills"]) == fills
    assert bool(found["continuations"]) == continues
    for told in found["continuations"]:
        assert (str.endswith if trained is REVERSED else str.startswith)(told["text"], told["prompt"])


def test_text_without_a_whole_sentence_shows_nothing(tmp_path: Path) -> None:
    found = samples(load(make_run(tmp_path / "run")), [row_of("the 7th boat went down the river with no salt")])
    assert found == {"fills": [], "continuations": []}
