"""Continuing: greedy and beams as transformers' generate, drawn from seeds, batched as one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bothways.errors import UsageError
from bothways.inference import LanguageModel
from bothways.inference.decoding.options import Options, spell
from bothways.inference.decoding.sampling import Sampling
from tests.inference.made import ENGLISH, load, make_run

PROMPTS = ["Once upon a time", "", "A small", "今天天气", "The quick brown fox jumps over the lazy dog. Reading is"]


@pytest.mark.parametrize("seed", range(3))
def test_greedy_tokens_equal_those_of_generate(seed: int, tmp_path: Path) -> None:
    """Under the generation config that is saved with the model; until [SEP] or the model's length."""
    transformers = pytest.importorskip("transformers")
    run = make_run(tmp_path / "run", seed=seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(run / "decoder").eval()
    theirs = transformers.AutoTokenizer.from_pretrained(run / "decoder")
    found = load(run).generate(PROMPTS, max_new_tokens=30, temperature=0)
    for prompt, text in zip(PROMPTS, found, strict=True):
        asked = theirs(prompt, return_tensors="pt")
        written = model.generate(**asked, max_new_tokens=30, do_sample=False)[0, asked["input_ids"].shape[1] :]
        assert text == prompt + spell(load(run).engine.tokenizer, asked["input_ids"][0, 1:].numpy(), written.tolist())


@pytest.mark.parametrize(
    "options", [{"no_repeat": 1}, {"no_repeat": 2}, {"beams": 4}, {"beams": 3, "no_repeat": 2}], ids=str
)
@pytest.mark.parametrize("seed", range(2))
def test_beams_and_blocked_runs_equal_those_of_generate(seed: int, options: Options, tmp_path: Path) -> None:
    """Where both mean the same: the sum of log-probabilities, ended by as many closed texts as there are beams."""
    transformers = pytest.importorskip("transformers")
    run = make_run(tmp_path / "run", seed=seed)
    found = load(run)
    model = transformers.AutoModelForCausalLM.from_pretrained(run / "decoder").eval()
    their_options = {"num_beams": options.get("beams", 1), "no_repeat_ngram_size": options.get("no_repeat", 0)}
    for prompt in ("Once upon a time a", "the the the", "A small model"):
        begun = found.engine.tokenizer.encode(prompt)
        asked = torch.tensor([[found.engine.tokenizer.vocabulary.cls, *begun]])
        written = model.generate(
            asked,
            attention_mask=torch.ones_like(asked),
            max_new_tokens=16,
            do_sample=False,
            **their_options,
            **({"early_stopping": True, "length_penalty": 0.0} if "beams" in options else {}),
        )[0, asked.shape[1] :]
        mine = {"length_penalty": 0.0} if "beams" in options else {"temperature": 0}
        expected = prompt + spell(found.engine.tokenizer, begun, written.tolist())
        assert found.generate(prompt, max_new_tokens=16, **options, **mine) == expected


def test_the_text_generation_pipeline_loads_it(run: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pipeline = transformers.pipeline("text-generation", model=str(run / "decoder"), device="cpu")
    (found,) = pipeline("Once upon", max_new_tokens=5, do_sample=False)
    assert found["generated_text"].startswith("Once upon")


@torch.no_grad()
def uncached(found: LanguageModel, prompt: str, count: int) -> str:
    """The whole text is read anew for every token."""
    engine, length = found.engine, found.engine.model.config.length
    vocabulary = engine.tokenizer.vocabulary
    begun = engine.tokenizer.encode(prompt)
    tokens = list(begun)
    window = len(tokens)
    for _ in range(count):
        window = length // 2 if 1 + window > length else window
        row = np.array([vocabulary.cls, *tokens[len(tokens) - window :]])
        logits = engine.model.logits(engine.read([row], face="decoder"))[0, -1]
        logits[sorted(vocabulary.special - {vocabulary.sep})] = -torch.inf
        token = int(logits.argmax())
        if token == vocabulary.sep:
            break
        tokens.append(token)
        window += 1
    return prompt + spell(engine.tokenizer, np.array(begun, dtype=np.int64), tokens[len(begun) :])


@pytest.mark.parametrize("prompt", PROMPTS)
def test_cached_equals_uncached(loaded: LanguageModel, prompt: str) -> None:
    assert loaded.generate(prompt, max_new_tokens=20, temperature=0) == uncached(loaded, prompt, 20)


@pytest.mark.parametrize("prompt", ["Once upon", "the " * 60, "the fox " * 100])
def test_beyond_the_models_length_the_older_half_is_forgotten(loaded: LanguageModel, prompt: str) -> None:
    found = loaded.generate(prompt, max_new_tokens=150, temperature=0)
    assert found == uncached(loaded, prompt, 150)
    assert found.startswith(prompt)


@pytest.mark.parametrize("max_new_tokens", [12, 100])
def test_batched_equals_one_by_one(loaded: LanguageModel, max_new_tokens: int) -> None:
    """Also when one of them outgrows the model and the others do not."""
    prompts = [*PROMPTS, ENGLISH[0], "x"]
    together = loaded.generate(prompts, max_new_tokens=max_new_tokens, temperature=0)
    assert together == [loaded.generate(prompt, max_new_tokens=max_new_tokens, temperature=0) for prompt in prompts]


def test_draws_are_a_function_of_the_seed_and_the_prompts_number(loaded: LanguageModel) -> None:
    first = loaded.generate(["Once"] * 4, max_new_tokens=15, seed=3)
    assert first == loaded.generate(["Once"] * 4, max_new_tokens=15, seed=3)
    assert len(set(first)) == 4
    assert first != loaded.generate(["Once"] * 4, max_new_tokens=15, seed=4)
    assert first[0] == loaded.generate("Once", max_new_tokens=15, seed=3)
    assert first[:2] == loaded.generate(["Once", "Once", "a much longer prompt"], max_new_tokens=15, seed=3)[:2]


def test_more_than_one_batch(loaded: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = loaded.generate(PROMPTS, max_new_tokens=8, seed=1)
    monkeypatch.setattr("bothways.inference.decoding.generate.ROWS_AT_ONCE", 2)
    assert loaded.generate(PROMPTS, max_new_tokens=8, seed=1) == expected


def test_nothing_to_add(loaded: LanguageModel) -> None:
    assert loaded.generate("Once", max_new_tokens=0) == "Once"
    assert loaded.generate([]) == []


def test_text_that_looks_like_a_special_token_is_text(loaded: LanguageModel) -> None:
    assert loaded.generate("[SEP] [MASK]", max_new_tokens=2, seed=1).startswith("[SEP] [MASK]")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -1.0}, "temperature is 0 .* got -1.0"),
        ({"temperature": float("nan")}, "temperature: expected a number, got nan"),
        ({"top_p": 0.0}, "top_p is a share, above 0 and at most 1, got 0.0"),
        ({"top_p": 1.5}, "top_p is a share"),
        ({"top_k": 0}, "top_k is how many tokens to choose among, 1 or more, got 0"),
        ({"max_new_tokens": -1}, "max_new_tokens is how many tokens to add, 0 or more, got -1"),
    ],
)
def test_numbers_out_of_range(loaded: LanguageModel, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        loaded.generate("Once", **arguments)  # type: ignore[arg-type]


# Sampling.

SHARES = torch.tensor([[0.1, 0.4, 0.2, 0.3]])


def draw(sampling: Sampling, chance: float, shares: torch.Tensor = SHARES) -> int:
    return int(sampling(shares.log(), np.array([chance]))[0])


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), {1: 0.4, 3: 0.3, 2: 0.2, 0: 0.1}),
        (Sampling(temperature=0), {1: 1.0}),
        (Sampling(top_k=2), {1: 4 / 7, 3: 3 / 7}),
        (Sampling(top_p=0.4), {1: 1.0}),
        (Sampling(top_p=0.41), {1: 4 / 7, 3: 3 / 7}),
        (Sampling(top_p=0.9), {1: 4 / 9, 3: 3 / 9, 2: 2 / 9}),
        (Sampling(top_k=3, top_p=0.5), {1: 4 / 7, 3: 3 / 7}),
        (Sampling(temperature=0.5), {1: 16 / 30, 3: 9 / 30, 2: 4 / 30, 0: 1 / 30}),
    ],
)
def test_shares_of_what_is_drawn(sampling: Sampling, expected: dict[int, float]) -> None:
    drawn = [draw(sampling, (i + 0.5) / 2000) for i in range(2000)]
    assert {token: drawn.count(token) / 2000 for token in set(drawn)} == pytest.approx(expected, abs=2e-3)


@settings(max_examples=50)
@given(
    chance=st.floats(0, 1, exclude_max=True),
    temperature=st.floats(0.05, 5),
    top_p=st.floats(0.01, 1),
    top_k=st.integers(1, 9),
    seed=st.integers(0, 999),
)
def test_what_is_drawn_is_always_allowed(
    chance: float, temperature: float, top_p: float, top_k: int, seed: int
) -> None:
    logits = torch.randn(1, 9, generator=torch.Generator().manual_seed(seed)) * 5
    logits[0, 4] = -torch.inf
    token = int(Sampling(temperature, top_k, top_p)(logits, np.array([chance]))[0])
    assert token != 4
    assert token in logits[0].topk(top_k).indices
