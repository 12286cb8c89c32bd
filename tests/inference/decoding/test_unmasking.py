"""Unmasking: a few a pass, the surest first; what is shown stays; written out by hand it is the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bothways.errors import ModelError, UsageError
from bothways.inference import LanguageModel
from bothways.inference.decoding import unmasking
from bothways.inference.decoding.generate import METHODS, Method
from bothways.inference.decoding.options import Order, Unmasking
from bothways.inference.decoding.sampling import Sampling
from bothways.inference.decoding.unmasking import MaskedRow, UnmaskingDecoding, unmask
from bothways.inference.engine import Engine
from tests.inference.made import CAUSAL, DIFFUSION, ENGLISH, GPT_BERT, MLM, UNILM1, full_text, load, make_run

MASK = 4
PROMPTS = ["Once upon a time", "", "A small", "今天天气", ENGLISH[0]]


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load(make_run(tmp_path_factory.mktemp("runs") / "diffusion", DIFFUSION, seed=1, length=32))


def masked_row(tokens: list[int], unmasking: Unmasking, seed: int = 0) -> MaskedRow:
    return MaskedRow(np.array(tokens), mask=MASK, random=np.random.default_rng(seed), unmasking=unmasking)


@torch.no_grad()
def shares(found: LanguageModel, tokens: np.ndarray, *, before: int = 0) -> torch.Tensor:
    """Log-probabilities [masks, V] of text in the hidden places, which are read from all sides: the model's own, but
    those of special tokens."""
    states = found.engine.read([tokens], face="encoder")[0]
    logprobs = found.engine.model.logits(states[np.flatnonzero(tokens == MASK) - before]).log_softmax(-1)
    logprobs[:, sorted(found.engine.tokenizer.vocabulary.special)] = -torch.inf
    return logprobs


@pytest.mark.parametrize("trained", [DIFFUSION, MLM, GPT_BERT], ids=lambda trained: trained.objective)
@pytest.mark.parametrize("steps", [None, 1, 3])
def test_by_hand(trained: Any, steps: int | None, tmp_path: Path) -> None:
    """Of the likeliest tokens of a pass, the most probable are kept: 8 places in 3 passes are 3, 3 and 2."""
    found = load(make_run(tmp_path / "run", trained))
    row = masked_row([2, MASK, 40, MASK, MASK, 50, MASK, MASK, 60, MASK, MASK, MASK, 3], Unmasking(Sampling(0), steps))
    tokens, logprobs = row.tokens.copy(), row.logprobs.copy()
    unmask(found.engine, [row])
    for count in {None: [1] * 8, 1: [8], 3: [3, 3, 2]}[steps]:
        best = shares(found, tokens, before=trained.hidden == "before").max(-1)
        places = np.flatnonzero(tokens == MASK)
        for i in best.values.argsort(descending=True)[:count].tolist():
            tokens[places[i]], logprobs[places[i]] = best.indices[i], best.values[i]
    assert row.tokens.tolist() == tokens.tolist()
    assert np.allclose(row.logprobs, logprobs, atol=1e-4)


def test_one_step_is_what_fill_says(loaded: LanguageModel) -> None:
    text = "the [MASK] fox [MASK] over"
    first, second = loaded.fill(text, top_k=1)
    assert loaded.infill(text, steps=1) == f"the{first[0].token} fox{second[0].token} over"


@settings(max_examples=30, deadline=None)
@given(
    tokens=st.lists(st.one_of(st.just(MASK), st.integers(5, 300)), min_size=1, max_size=14),
    steps=st.one_of(st.none(), st.integers(1, 16)),
    temperature=st.sampled_from([0.0, 1.0]),
    order=st.sampled_from(["confidence", "random"]),
    seed=st.integers(0, 99),
)
def test_every_pass_says_its_part_and_what_is_shown_stays(
    tokens: list[int], steps: int | None, temperature: float, order: Order, seed: int, diffusion: LanguageModel
) -> None:
    unmasking = Unmasking(Sampling(temperature), steps, order)
    row = masked_row([2, *tokens, 3], unmasking, seed)
    seen: list[np.ndarray] = []
    read = Engine.read

    def watch(self: Engine, rows: list[np.ndarray], *, face: str) -> torch.Tensor:
        seen.extend(one.copy() for one in rows)
        return read(self, rows, face=face)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "read", watch)
        unmask(diffusion.engine, [row])
    count = tokens.count(MASK)
    assert len(seen) == min(count, steps or count)
    seen.append(row.tokens)
    left = [int((one == MASK).sum()) for one in seen]
    said = -np.diff(left)
    assert left[0] == count and left[-1] == 0
    assert steps is not None or (said == 1).all()
    assert (np.diff(said) <= 0).all() and (not count or said.max() - said.min() <= 1)
    for earlier, later in pairwise(seen):
        shown = earlier != MASK
        assert (earlier[shown] == later[shown]).all()
    assert not diffusion.engine.tokenizer.vocabulary.special & set(row.tokens[1:-1].tolist())


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_special_tokens_are_never_said(temperature: float, tmp_path: Path) -> None:
    """Not even by a model that wants nothing else."""
    found = load(make_run(tmp_path / "run", DIFFUSION))
    special = sorted(found.engine.tokenizer.vocabulary.special)
    row = masked_row([2, *[MASK] * 20, 3], Unmasking(Sampling(temperature)))
    with torch.no_grad():
        found.engine.model.table[special] *= 30
        states = found.engine.read([row.tokens], face="encoder")
        assert set(found.engine.model.logits(states).argmax(-1)[0].tolist()) & set(special)
    unmask(found.engine, [row])
    assert not set(special) & set(row.tokens[1:-1].tolist())


def test_the_order_at_random_is_another(diffusion: LanguageModel) -> None:
    sure, drawn = (Unmasking(Sampling(0), None, order) for order in ("confidence", "random"))
    rows = [masked_row([2, *[MASK] * 12, 3], unmasking) for unmasking in (sure, drawn, drawn)]
    for row in rows:
        unmask(diffusion.engine, [row])
    assert rows[0].tokens.tolist() != rows[1].tokens.tolist() == rows[2].tokens.tolist()


# Continuing.


@pytest.mark.parametrize("steps", [None, 1, 4])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_does_not_depend_on_its_company(
    steps: int | None, temperature: float, diffusion: LanguageModel
) -> None:
    def answer(prompts: list[str]) -> list[str]:
        return full_text(diffusion, prompts, max_new_tokens=20, temperature=temperature, steps=steps, seed=5)

    together = answer(PROMPTS)
    assert all(text.startswith(prompt) for text, prompt in zip(together, PROMPTS, strict=True))
    if temperature == 0:
        assert together == [answer([prompt])[0] for prompt in PROMPTS]
    assert together[:2] == answer([*PROMPTS[:2], "the fox"])[:2]
    assert together == answer(PROMPTS)


def test_the_first_part_is_masks_behind_the_prompt(diffusion: LanguageModel) -> None:
    own = diffusion.engine.tokenizer
    row = masked_row([2, *own.encode("A small"), *[MASK] * 7], Unmasking(Sampling(0)))
    unmask(diffusion.engine, [row])
    assert full_text(diffusion, "A small", max_new_tokens=7, temperature=0) == own.decode(row.tokens)


def test_beyond_the_models_length(diffusion: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what the model reads at a time, behind as much as there is room for."""
    seen: list[tuple[int, int]] = []

    def fill(engine: Engine, rows: Sequence[MaskedRow]) -> None:
        seen.extend((len(row.tokens), len(row.places)) for row in rows)
        unmask(engine, rows)

    monkeypatch.setitem(METHODS, "unmask", Method(partial(UnmaskingDecoding, fill=fill)))
    own = diffusion.engine.tokenizer
    for prompt in ("Once", "the fox " * 40):
        seen.clear()
        written = full_text(diffusion, prompt, max_new_tokens=40, temperature=0)
        begun = len(own.encode(prompt))
        assert [masks for _, masks in seen] == [16, 16, 8]
        assert [length for length, _ in seen] == [min(32, 1 + begun + done) for done in (16, 32, 40)]
        assert written.startswith(prompt) and len(written) > len(prompt)


def test_a_source_is_not_lost_where_more_is_asked_for_than_was_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that reads 16 tokens, and a source of 7: 9 are added; then the newer half of what there is goes on."""
    engine: Any = SimpleNamespace(model=SimpleNamespace(config=SimpleNamespace(length=16)), writes=True)
    asked: list[tuple[list[int], int]] = []

    def add(engine: Any, sequences: Any, shown: Any, counts: Any, **_: Any) -> None:
        asked.extend((one.tolist(), count) for one, count in zip(shown, counts, strict=True))

    monkeypatch.setattr(unmasking, "add_unmasked", add)
    decoding = UnmaskingDecoding(engine, [], 1, fill=lambda *_: None)
    for known in (7, 16):
        one: Any = SimpleNamespace(opening=(0,), remaining=40, row=lambda known=known: np.arange(known))
        decoding.step([one])
    assert asked == [([*range(7)], 9), ([0, *range(9, 16)], 8)]


def test_steps_are_shared_by_the_parts(diffusion: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    read = Engine.read
    monkeypatch.setattr(Engine, "read", lambda self, rows, face: passes.append(1) or read(self, rows, face=face))
    for steps, expected in ((None, 40), (40, 40), (10, 10), (1, 3), (400, 40)):
        passes.clear()
        full_text(diffusion, "Once", max_new_tokens=40, steps=steps)
        assert len(passes) == expected


@pytest.mark.parametrize("options", [{"num_beams": 2}, {"no_repeat_ngram_size": 2}])
def test_what_is_for_left_to_right(options: Any, diffusion: LanguageModel) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(options))} is for models that predict one token after"):
        full_text(diffusion, "a", **options)


# Infilling.

TEXTS = [
    "the [GAP] fox",
    "[GAP] upon a time",
    "Once upon [GAP]",
    "从前[GAP]山",
    "a [MASK] model [GAP] from [MASK]",
    "[GAP]",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_length_of_the_highest_mean_is_kept(text: str, loaded: LanguageModel) -> None:
    """By hand: every length written out, a token a pass."""
    own, scores = loaded.engine.tokenizer, []
    for length in range(1, 6):
        tokens = np.array([2, *own.encode_marked(text.replace("[GAP]", "[MASK]" * length)), 3])
        logprobs = []
        while (tokens == MASK).any():
            best = shares(loaded, tokens).max(-1)
            place = int(best.values.argmax())
            tokens[np.flatnonzero(tokens == MASK)[place]] = best.indices[place]
            logprobs.append(best.values[place].item())
        scores.append(np.mean(logprobs))
    expected = 1 + int(np.argmax(scores))
    assert loaded.infill(text, longest=5) == loaded.infill(text, length=expected)


@pytest.mark.parametrize("kind", ["run", "wordpiece_run"])
@pytest.mark.parametrize(
    "text", ["  The   quick[GAP]  FOX\n\nlazy ", "[GAP] upon a time", "un[GAP]ably", "今天 [GAP]，很好。", "a [GAP]"]
)
def test_what_was_shown_stays_to_the_letter(kind: str, text: str, request: pytest.FixtureRequest) -> None:
    found = load(request.getfixturevalue(kind))
    before, after = text.split("[GAP]")
    for length in (1, 4):
        written = found.infill(text, length=length)
        assert written.startswith(before.rstrip()) and written.endswith(after)
        assert "[GAP]" not in written


def test_lengths_of_texts_and_batches_do_not_matter(loaded: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    together = loaded.infill(TEXTS, longest=4)
    assert together == [loaded.infill(text, longest=4) for text in TEXTS]
    drawn = loaded.infill(TEXTS, longest=4, temperature=1.0, seed=1)
    monkeypatch.setattr("bothways.inference.engine.TOKENS_AT_ONCE", 40)
    monkeypatch.setattr("bothways.inference.decoding.unmasking.LOGITS_AT_ONCE", 900)
    assert loaded.infill(TEXTS, longest=4) == together
    assert loaded.infill(TEXTS, longest=4, temperature=1.0, seed=1) == drawn != together
    assert loaded.infill([]) == []


@pytest.mark.parametrize("trained", [MLM, GPT_BERT, UNILM1], ids=lambda trained: trained.objective)
@pytest.mark.parametrize("options", [{}, {"steps": 2}, {"order": "random"}, {"length": 3, "steps": 1}], ids=str)
def test_gaps_of_a_batch_are_written_as_alone(trained: Any, options: Any, tmp_path: Path) -> None:
    """Both sides of a gap matter; texts of unequal length, at the start, at the end, with masks, with nothing else."""
    found = load(make_run(tmp_path / "run", trained, seed=1))
    together = found.infill(TEXTS, longest=4, **options)
    assert together == found.infill(TEXTS, longest=4, **options)
    if "order" not in options:  # a text's random order is a function of its number
        assert together == [found.infill(text, longest=4, **options) for text in TEXTS]
    left, right = (found.infill(text, length=4) for text in ("the fox [GAP] dog", "the fox [GAP] over the lazy"))
    assert left.removesuffix(" dog") != right.removesuffix(" over the lazy")


def test_more_texts_than_a_batch_holds(diffusion: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [full_text(diffusion, PROMPTS, max_new_tokens=9, seed=seed, steps=3) for seed in range(2)]
    monkeypatch.setattr("bothways.inference.decoding.generate.ROWS_AT_ONCE", 2)
    monkeypatch.setattr("bothways.inference.engine.TOKENS_AT_ONCE", 30)
    monkeypatch.setattr("bothways.inference.decoding.unmasking.LOGITS_AT_ONCE", 900)
    assert [full_text(diffusion, PROMPTS, max_new_tokens=9, seed=seed, steps=3) for seed in range(2)] == whole
    assert whole[0] != whole[1]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a [GAP] b [GAP]", {}, r"text 2 has 2 gaps, expected one \[GAP\]"),
        ("the fox", {}, r"text 2 has neither \[GAP\] nor \[MASK\]: 'the fox'. Write \[GAP\] where"),
        ("a [GAP]" + " the" * 60, {}, "text 2 .* tokens with its specials; the model reads at most 64"),
        ("[GAP]", {"length": 0}, "a gap is 1 token long or more, got 0"),
        ("[GAP]", {"longest": 0}, "a gap is 1 token long or more, got 0"),
        ("[GAP]", {"steps": 0}, "steps is in how many passes"),
        ("[GAP]", {"temperature": -1}, "temperature is 0"),
    ],
)
def test_what_cannot_be_written_out(text: str, options: Any, message: str, loaded: LanguageModel) -> None:
    with pytest.raises(UsageError, match=message):
        loaded.infill(["[GAP]", text], **options)


def test_a_model_that_says_no_hidden_words(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not taught to fill in hidden words: its objective, causal, gives"):
        load(make_run(tmp_path / "run", CAUSAL)).infill("a [GAP]")
