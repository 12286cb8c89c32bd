"""Written from right to left: each token as the objective itself says it, and the prompt stands at the end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bothways.batch import Row
from bothways.inference import LanguageModel
from bothways.inference.decoding.sequence import detokenize_before
from bothways.objectives import Corrupted, build
from bothways.visibility import Layout, ordered
from tests.inference.made import CHINESE, ENGLISH, REVERSED, full_text, load, make_run

ENDS = ["once upon a time nobody read.", "", "these tests.", CHINESE[0]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load(make_run(tmp_path_factory.mktemp("reversed"), REVERSED, seed=2))


@torch.no_grad()
def before(model: LanguageModel, tokens: list[int]) -> torch.Tensor:
    """Logits of what stands before tokens [SEP], under the arrangement of the objective."""
    vocabulary = model.engine.tokenizer.vocabulary
    flat = np.zeros(len(tokens) + 1, dtype=np.int32)
    row = Row(np.array([*tokens, vocabulary.sep], dtype=np.int32), flat, flat == 0)
    layout = Layout.stack([build("reversed", vocabulary).arrange(Corrupted(row, row.tokens, flat == 0, flat))])
    states = model.engine.model.backbone(torch.tensor(row.tokens[None].tolist()), layout, ordered.dense(layout))
    logits: torch.Tensor = model.engine.model.logits(states[0, 0])
    logits[sorted(vocabulary.special - {vocabulary.cls})] = -torch.inf
    return logits


def slowly(model: LanguageModel, end: str, count: int) -> str:
    own, new = model.engine.tokenizer, list[int]()
    for _ in range(count):
        token = int(before(model, [*new, *own.encode(end)]).argmax())
        if token == own.vocabulary.cls:
            break
        new.insert(0, token)
    return detokenize_before(own, new, own.encode(end)) + end


def test_greedy_equals_the_slow_way(model: LanguageModel) -> None:
    assert full_text(model, ENDS, max_new_tokens=12, temperature=0) == [slowly(model, end, 12) for end in ENDS]
    assert full_text(model, ENDS, max_new_tokens=12, num_beams=1) == [slowly(model, end, 12) for end in ENDS]


def test_several_beams_are_several_beginnings(model: LanguageModel) -> None:
    found = model.generate("these tests.", max_new_tokens=6, num_beams=3, num_return_sequences=3)
    every = [found, *found.others]
    assert len({one.text for one in every}) == 3 and all(one.full_text.endswith("these tests.") for one in every)
    assert found.text == model.generate("these tests.", max_new_tokens=6, num_beams=3).text


def test_a_long_text_forgets_its_end(model: LanguageModel) -> None:
    """And an answer does not depend on its company."""
    ends = [*ENDS, " ".join(ENGLISH)]
    together = full_text(model, ends, max_new_tokens=40, temperature=0)
    assert all(text.endswith(end) for text, end in zip(together, ends, strict=True))
    assert together == [full_text(model, end, max_new_tokens=40, temperature=0) for end in ends]


def test_it_ends_where_a_text_begins(model: LanguageModel) -> None:
    """[CLS] ends a text and is not written; [SEP] is never said."""
    own = model.engine.tokenizer
    suppressed = model.engine.suppressed_onwards({own.vocabulary.cls}).tolist()
    assert own.vocabulary.sep in suppressed and own.vocabulary.cls not in suppressed
    texts = full_text(model, ["fox"] * 32, max_new_tokens=50, temperature=2.0)
    lengths = [len(text.encode()) for text in texts]
    assert min(lengths) < max(lengths) / 3  # some ended before they had all their tokens
    assert not any("[CLS]" in text for text in texts)
