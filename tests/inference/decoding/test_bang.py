"""MASS, BANG and any-order models write as under the objective's own arrangement, read anew each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bothways.batch import Row
from bothways.errors import ModelError, UsageError
from bothways.inference import LanguageModel
from bothways.inference.decoding.options import GenerationOptions
from bothways.inference.decoding.sequence import detokenize
from bothways.objectives import Corrupted
from bothways.objectives.mass import with_decoder
from bothways.objectives.predicting_streams import BANG as RULE
from bothways.objectives.predicting_streams import with_queries, with_streams
from bothways.visibility import Layout, Visibility, ordered
from tests.inference.decoding.explicit import allowed
from tests.inference.made import ANY_ORDER, BANG, ENGLISH, MASS, TEXTS, full_text, load, make_run

PROMPTS = ["The quick brown", "", "Reading is seeing with", "今天"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LanguageModel]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        trained.objective: load(make_run(folder / trained.objective, trained)) for trained in (MASS, BANG, ANY_ORDER)
    }


@torch.no_grad()
def logits(found: LanguageModel, tokens: np.ndarray, layout: Layout, *, rule: Visibility = ordered) -> torch.Tensor:
    """[S, V]"""
    stacked = Layout.stack([layout])
    states = found.engine.model.backbone(torch.from_numpy(tokens.astype(np.int64))[None], stacked, rule.dense(stacked))
    return found.engine.model.logits(states[0])


def corrupted(tokens: np.ndarray, chosen: np.ndarray, part: np.ndarray) -> Corrupted:
    flat = np.zeros(len(tokens), dtype=np.int32)
    return Corrupted(Row(tokens.astype(np.int32), flat, flat == 0), tokens, chosen, part)


def fragment(found: LanguageModel, before: str, count: int, after: str) -> str:
    """MASS, greedily: the row and its decoder laid out as in training, read anew for every token."""
    own = found.engine.tokenizer
    left, right = own.encode(before), own.encode(after)
    masked = np.array([own.vocabulary.cls, *left, *[own.vocabulary.mask] * count, *right, own.vocabulary.sep])
    chosen = masked == own.vocabulary.mask
    first, written = 1 + len(left), masked.copy()
    for turn in range(count):
        layout = with_decoder(corrupted(masked, chosen, np.zeros(len(masked), dtype=np.int32)))
        tokens = np.append(masked, written[first - 1 : first - 1 + count])
        said = allowed(found, logits(found, tokens, layout)[len(masked) + turn])
        said[own.vocabulary.sep] = -torch.inf
        written[first + turn] = int(said.argmax())
    return before + detokenize(own, left, written[first : first + count].tolist()) + after


@pytest.mark.parametrize("count", [1, 5])
def test_a_fragment_is_written_as_in_training(count: int, models: dict[str, LanguageModel]) -> None:
    texts = ["The quick[GAP] over the lazy dog.", "[GAP] nobody read.", "once upon[GAP]"]
    expected = [fragment(models["mass"], *text.split("[GAP]")[:1], count, text.split("[GAP]")[1]) for text in texts]
    assert models["mass"].infill(texts, length=count) == expected
    assert [models["mass"].infill(text, length=count) for text in texts] == expected


def test_a_fragment_has_the_log_probability_that_the_model_gives_it(models: dict[str, LanguageModel]) -> None:
    """What is never written, the special tokens, has its share too."""
    found = models["mass"]
    own = found.engine.tokenizer
    masked = np.array([own.vocabulary.cls, *own.encode("The quick"), own.vocabulary.mask])
    layout = with_decoder(corrupted(masked, masked == own.vocabulary.mask, np.zeros(len(masked), dtype=np.int32)))
    said = logits(found, np.append(masked, masked[-2]), layout)[-1].log_softmax(-1)
    one = found.generate("The quick", max_new_tokens=1, temperature=0)
    assert one.logprob == pytest.approx(float(said[one.tokens[0]]), abs=1e-4)


def test_a_fragment_at_the_end_of_what_is_read_is_written_in_any_company(tmp_path: Path) -> None:
    """Places have numbers of their own in a classic model, and there is none behind the last."""
    found = load(make_run(tmp_path / "run", MASS, classic=True, length=24))
    own = found.engine.tokenizer
    full = own.decode(own.encode(ENGLISH[0])[:20]) + "[MASK]"
    texts = [full, "The quick" + "[MASK]" * 9]
    assert len(own.encode_marked(full)) == 21
    assert found.infill(texts) == [found.infill(text) for text in texts]


def test_a_fragment_is_one_run_from_left_to_right(models: dict[str, LanguageModel]) -> None:
    with pytest.raises(UsageError, match="several apart"):
        models["mass"].infill("The [MASK] brown [MASK] jumps")
    with pytest.raises(UsageError, match="steps and order are for unmasking"):
        models["mass"].infill("The [GAP] fox", steps=2)
    with pytest.raises(ModelError, match="in a number of steps"):
        full_text(models["mass"], "The", steps=2)
    with pytest.raises(UsageError, match="num_beams is for models that predict one token"):
        full_text(models["mass"], "The", num_beams=2)


def in_streams(found: LanguageModel, prompt: str, total: int, count: int) -> str:
    """BANG, greedily, `count` tokens a pass: laid out as in training, where all streams ask at once."""
    own = found.engine.tokenizer
    begun, new = own.encode(prompt), list[int]()
    while len(new) < total:
        row = np.array(
            [own.vocabulary.cls, *begun, *new, *[own.vocabulary.unk] * count]
        )  # what comes is seen by nobody
        part = np.maximum(np.arange(len(row)) - len(begun), 0).astype(np.int32)
        layout = with_streams(corrupted(row, part > 0, part), count=count)
        asked = [
            int(np.flatnonzero((layout.group == 1) & (layout.step == len(new) + 1) & (layout.position == place))[0])
            for place in range(len(row) - count, len(row))
        ]
        tokens = np.append(row, np.full(len(layout.step) - len(row), own.vocabulary.mask))
        for said in logits(found, tokens, layout, rule=RULE)[asked]:
            token = int(allowed(found, said).argmax())
            if token == own.vocabulary.sep:
                return prompt + detokenize(own, begun, new[:total])
            new.append(token)
    return prompt + detokenize(own, begun, new[:total])


@pytest.mark.parametrize(("steps", "count"), [(None, 1), (9, 1), (3, 3), (4, 3)])
def test_streams_write_as_in_training(steps: int | None, count: int, models: dict[str, LanguageModel]) -> None:
    found = full_text(models["bang"], PROMPTS, max_new_tokens=9, temperature=0, steps=steps)
    assert found == [in_streams(models["bang"], prompt, 9, count) for prompt in PROMPTS]


def test_more_at_once_than_was_taught(models: dict[str, LanguageModel]) -> None:
    with pytest.raises(UsageError, match=r"9 at once, and this model was taught to predict 4: give it 3 steps"):
        full_text(models["bang"], "The", max_new_tokens=9, steps=1)
    assert full_text(models["bang"], "The", max_new_tokens=4, steps=1, temperature=0)


def test_streams_outgrow_the_model_and_do_not_depend_on_company(models: dict[str, LanguageModel]) -> None:
    found = full_text(models["bang"], PROMPTS, max_new_tokens=150, steps=50, temperature=0)
    assert found == [
        full_text(models["bang"], prompt, max_new_tokens=150, steps=50, temperature=0) for prompt in PROMPTS
    ]
    assert full_text(models["bang"], PROMPTS, max_new_tokens=20, seed=3) == full_text(
        models["bang"], PROMPTS, max_new_tokens=20, seed=3
    )
    slow, fast = (GenerationOptions(max_new_tokens=150, steps=steps, temperature=0.0) for steps in (150, 50))
    mixed = models["bang"].generate(["The quick", "A small"], [slow, fast])
    assert mixed == [models["bang"].generate("The quick", slow), models["bang"].generate("A small", fast)]


def test_any_order_asks_as_in_training(models: dict[str, LanguageModel]) -> None:
    """One pass: each hidden place is a query that sees what is shown, in the order of the text, and no other query."""
    found = models["any-order"]
    own = found.engine.tokenizer
    text = "The quick [MASK] fox jumps [MASK] the lazy dog."
    row = found.engine.marked_rows([text])[0]
    asked = row == own.vocabulary.mask
    shown = ~asked & ~np.isin(row, sorted(own.vocabulary.special))
    turn = np.where(shown, np.cumsum(shown), 0).astype(np.int32)
    turn[asked] = shown.sum() + 1
    layout = with_queries(corrupted(row, asked, turn))
    tokens = np.append(row, np.full(asked.sum(), own.vocabulary.mask))
    said = logits(found, tokens, layout)[len(row) :]
    said[:, sorted(own.vocabulary.special)] = -torch.inf
    left, middle, right = text.split("[MASK]")
    first, second = (
        detokenize(own, own.encode(before), [int(one.argmax())])
        for before, one in zip((left, middle), said, strict=True)
    )
    expected = f"{left}{first}{middle}{second}{right}"  # but for the spaces, which belong to tokens
    assert found.infill(text, steps=1).replace(" ", "") == expected.replace(" ", "")


@pytest.mark.parametrize("order", ["confidence", "random"])
def test_any_order_does_not_depend_on_company(order: str, models: dict[str, LanguageModel]) -> None:
    texts = [f"{text[:12]}[GAP]{text[20:40]}" for text in ENGLISH] + ["今[MASK][MASK]很好"]
    together = models["any-order"].infill(texts, length=3, order=order, seed=1)
    if order == "confidence":
        assert together == [models["any-order"].infill(text, length=3, order=order, seed=1) for text in texts]
    assert together == models["any-order"].infill(texts, length=3, order=order, seed=1)
    assert full_text(models["any-order"], TEXTS[0][:20], max_new_tokens=8, steps=3)


Ask = Callable[[LanguageModel], object]


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("bang", lambda found: found.infill("a [GAP] b")),
        ("any-order", lambda found: found.score("a b")),
        ("mass", lambda found: found.fill("a [MASK] b")),
    ],
)
def test_what_was_not_taught_is_refused(name: str, ask: Ask, models: dict[str, LanguageModel]) -> None:
    with pytest.raises(ModelError, match=f"its objective, {name}"):
        ask(models[name])
