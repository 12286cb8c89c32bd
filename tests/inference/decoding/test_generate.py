"""Continuing: greedy and beams as transformers' generate, drawn from seeds, batched as one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bothways.errors import UsageError
from bothways.inference import LanguageModel
from bothways.inference.decoding.generate import _tokens
from bothways.inference.decoding.options import GenerationOptions, GenerationRequest, Options
from bothways.inference.decoding.sampling import Sampling
from bothways.inference.decoding.sequence import detokenize
from bothways.inference.engine import Engine
from tests.inference.made import ENGLISH, full_text, load, make_run

PROMPTS = ["Once upon a time", "", "A small", "今天天气", "The quick brown fox jumps over the lazy dog. Reading is"]


@pytest.mark.parametrize("seed", range(3))
def test_greedy_tokens_equal_those_of_generate(seed: int, tmp_path: Path) -> None:
    """Under the generation config that is saved with the model; until [SEP] or the model's length."""
    transformers = pytest.importorskip("transformers")
    run = make_run(tmp_path / "run", seed=seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(run / "decoder").eval()
    theirs = transformers.AutoTokenizer.from_pretrained(run / "decoder")
    found = full_text(load(run), PROMPTS, max_new_tokens=30, temperature=0)
    for prompt, text in zip(PROMPTS, found, strict=True):
        asked = theirs(prompt, return_tensors="pt")
        written = model.generate(**asked, max_new_tokens=30, do_sample=False)[0, asked["input_ids"].shape[1] :]
        assert text == prompt + detokenize(
            load(run).engine.tokenizer, asked["input_ids"][0, 1:].numpy(), written.tolist()
        )


@pytest.mark.parametrize(
    "options",
    [
        {"no_repeat_ngram_size": 1},
        {"no_repeat_ngram_size": 2},
        {"num_beams": 4},
        {"num_beams": 3, "no_repeat_ngram_size": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", range(2))
def test_beams_and_blocked_runs_equal_those_of_generate(seed: int, options: Options, tmp_path: Path) -> None:
    """Where both mean the same: the sum of log-probabilities, ended by as many closed texts as there are beams."""
    transformers = pytest.importorskip("transformers")
    run = make_run(tmp_path / "run", seed=seed)
    found = load(run)
    model = transformers.AutoModelForCausalLM.from_pretrained(run / "decoder").eval()
    their_options = {
        "num_beams": options.get("num_beams", 1),
        "no_repeat_ngram_size": options.get("no_repeat_ngram_size", 0),
    }
    for prompt in ("Once upon a time a", "the the the", "A small model"):
        begun = found.engine.tokenizer.encode(prompt)
        asked = torch.tensor([[found.engine.tokenizer.vocabulary.cls, *begun]])
        written = model.generate(
            asked,
            attention_mask=torch.ones_like(asked),
            max_new_tokens=16,
            do_sample=False,
            **their_options,
            **({"early_stopping": True, "length_penalty": 0.0} if "num_beams" in options else {}),
        )[0, asked.shape[1] :]
        mine = {"length_penalty": 0.0} if "num_beams" in options else {"temperature": 0}
        expected = prompt + detokenize(found.engine.tokenizer, begun, written.tolist())
        assert full_text(found, prompt, max_new_tokens=16, **options, **mine) == expected


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
    return prompt + detokenize(engine.tokenizer, np.array(begun, dtype=np.int64), tokens[len(begun) :])


@pytest.mark.parametrize("prompt", PROMPTS)
def test_cached_equals_uncached(loaded: LanguageModel, prompt: str) -> None:
    assert full_text(loaded, prompt, max_new_tokens=20, temperature=0) == uncached(loaded, prompt, 20)


@pytest.mark.parametrize("prompt", ["Once upon", "the " * 60, "the fox " * 100])
def test_beyond_the_models_length_the_older_half_is_forgotten(loaded: LanguageModel, prompt: str) -> None:
    found = full_text(loaded, prompt, max_new_tokens=150, temperature=0)
    assert found == uncached(loaded, prompt, 150)
    assert found.startswith(prompt)


@pytest.mark.parametrize("max_new_tokens", [12, 100])
def test_batched_equals_one_by_one(loaded: LanguageModel, max_new_tokens: int) -> None:
    """Also when one of them outgrows the model and the others do not."""
    prompts = [*PROMPTS, ENGLISH[0], "x"]
    together = full_text(loaded, prompts, max_new_tokens=max_new_tokens, temperature=0)
    assert together == [full_text(loaded, prompt, max_new_tokens=max_new_tokens, temperature=0) for prompt in prompts]


def test_draws_are_a_function_of_the_seed_and_the_prompts_number(loaded: LanguageModel) -> None:
    first = full_text(loaded, ["Once"] * 4, max_new_tokens=15, seed=3)
    assert first == full_text(loaded, ["Once"] * 4, max_new_tokens=15, seed=3)
    assert len(set(first)) == 4
    assert first != full_text(loaded, ["Once"] * 4, max_new_tokens=15, seed=4)
    assert first[0] == full_text(loaded, "Once", max_new_tokens=15, seed=3)
    assert first[:2] == full_text(loaded, ["Once", "Once", "a much longer prompt"], max_new_tokens=15, seed=3)[:2]


def test_more_than_one_batch(loaded: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = full_text(loaded, PROMPTS, max_new_tokens=8, seed=1)
    monkeypatch.setattr("bothways.inference.decoding.generate.ROWS_AT_ONCE", 2)
    assert full_text(loaded, PROMPTS, max_new_tokens=8, seed=1) == expected


UNEQUAL = [
    GenerationOptions(max_new_tokens=3, temperature=0),
    GenerationOptions(max_new_tokens=90, seed=5, top_k=9),
    GenerationOptions(max_new_tokens=12, num_beams=3, no_repeat_ngram_size=2),
    GenerationOptions(max_new_tokens=0),
    GenerationOptions(max_new_tokens=40, temperature=0.7, seed=2, eos_token_id=30),
]


def test_requests_of_their_own_share_slots(loaded: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own options, length and end; with two slots for all, each gives what it gives alone."""
    alone = [loaded.generate(*pair) for pair in zip(PROMPTS, UNEQUAL, strict=True)]
    assert loaded.generate(PROMPTS, UNEQUAL) == alone
    monkeypatch.setattr("bothways.inference.decoding.generate.ROWS_AT_ONCE", 2)
    together = loaded.generate(PROMPTS * 2, UNEQUAL * 2)
    assert together == alone * 2
    lengths = [len(one.tokens) for one in alone]
    assert len(set(lengths)) == len(lengths) and alone[3].finish_reason == "length"


def test_how_often_the_model_is_asked_for_unequal_requests(
    loaded: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two slots, one request of 24 tokens and six of 4: a slot that is freed is taken at once, so 24 steps do."""
    asked: list[int] = []
    states = Engine.states
    monkeypatch.setattr(Engine, "states", lambda self, tokens, *given, **named: (
        asked.append(tokens.shape[1]), states(self, tokens, *given, **named))[1])  # fmt: skip
    monkeypatch.setattr("bothways.inference.decoding.generate.ROWS_AT_ONCE", 2)
    options = [
        GenerationOptions(max_new_tokens=count, temperature=0, eos_token_id=0) for count in (4, 4, 24, 4, 4, 4, 4)
    ]
    found = loaded.generate(["Once upon a time"] * 7, options)
    assert [len(one.tokens) for one in found] == [4, 4, 24, 4, 4, 4, 4]
    assert asked.count(1) == 23  # the first token of each comes from reading its prompt


@pytest.mark.parametrize("options", [{"temperature": 0}, {"seed": 4}, {"num_beams": 2}], ids=str)
@pytest.mark.parametrize("prompt", ["Once upon", "今天", "the " * 70])
def test_the_parts_of_a_stream_are_the_text(loaded: LanguageModel, prompt: str, options: Options) -> None:
    parts = list(loaded.stream(prompt, max_new_tokens=30, **options))
    assert "".join(parts) == loaded.generate(prompt, max_new_tokens=30, **options).text
    assert len(parts) > 5 or "num_beams" in options
    assert "\ufffd" not in "".join(parts)


@pytest.mark.parametrize("options", [{"temperature": 0}, {"seed": 4, "temperature": 1.5, "top_p": 0.8}], ids=str)
def test_the_log_probability_is_that_of_the_tokens(loaded: LanguageModel, options: Options) -> None:
    """By the model itself, whatever the sampling; the token that ended them counts."""
    found = loaded.generate("Once upon", max_new_tokens=20, **options)
    engine = loaded.engine
    begun = [engine.tokenizer.vocabulary.cls, *engine.tokenizer.encode("Once upon")]
    ended = [engine.tokenizer.vocabulary.sep] if found.finish_reason == "stop" else []
    row = np.array([*begun, *found.tokens, *ended])
    logits = engine.logits(engine.read([row], face="decoder"))[0, len(begun) - 1 : -1]
    nats = logits.log_softmax(-1).gather(1, torch.from_numpy(row[len(begun) :])[:, None]).sum()
    assert found.logprob == pytest.approx(float(nats), rel=1e-4)


@pytest.mark.parametrize("forced", [None, 30, 4])
def test_a_beam_of_one_has_the_probability_of_the_greedy_text(forced: int | None, loaded: LanguageModel) -> None:
    """What may not come next counts in neither, nor that a token, be it a special one, had to be the first."""
    options: Options = {"max_new_tokens": 12, "min_new_tokens": 12, "no_repeat_ngram_size": 2}
    options |= {"forced_bos_token_id": forced}
    greedy = loaded.generate("Once upon", temperature=0, **options)
    beam = loaded.generate("Once upon", num_beams=1, **options)
    assert forced in (None, greedy.tokens[0])
    assert greedy.tokens == beam.tokens and greedy.logprob == pytest.approx(beam.logprob, rel=1e-4)


def test_options_twice_or_for_others(loaded: LanguageModel) -> None:
    with pytest.raises(UsageError, match="a record or by their names, got both: seed"):
        loaded.generate("a", GenerationOptions(), seed=1)
    with pytest.raises(UsageError, match="expected options for each of 2 prompts, got 1"):
        loaded.generate(["a", "b"], [GenerationOptions()])
    with pytest.raises(UsageError, match="a list of GenerationOptions, got 'seed'"):
        loaded.generate(["a"], ["seed"])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="options: expected GenerationOptions, or a list of them, got .'seed': 1"):
        loaded.generate("a", {"seed": 1})  # type: ignore[call-overload]
    both = (GenerationOptions(max_new_tokens=2), GenerationOptions(max_new_tokens=3))
    assert loaded.generate(["a", "b"], both) == loaded.generate(["a", "b"], [*both])  # type: ignore[call-overload]
    beside = LanguageModel(replace(loaded.engine, adapters={"mine": loaded.engine}))
    with pytest.raises(UsageError, match="expected options for each of 4 prompts, got 2"):
        beside.generate(["a", "b", "c", "d"], [GenerationOptions()] * 2, adapter=["mine", None] * 2)


def test_nothing_to_add(loaded: LanguageModel) -> None:
    assert full_text(loaded, "Once", max_new_tokens=0) == "Once"
    assert full_text(loaded, []) == []


def test_text_that_looks_like_a_special_token_is_text(loaded: LanguageModel) -> None:
    assert full_text(loaded, "[SEP] [MASK]", max_new_tokens=2, seed=1).startswith("[SEP] [MASK]")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -1.0}, "temperature is 0 .* got -1.0"),
        ({"temperature": float("inf")}, "temperature is 0 .* or more, and finite, got inf"),
        ({"temperature": float("nan")}, "temperature: expected a number, got nan"),
        ({"top_p": 0.0}, "top_p is a share, above 0 and at most 1, got 0.0"),
        ({"top_p": 1.5}, "top_p is a share"),
        ({"top_k": 0}, "top_k is how many tokens to choose among, 1 or more, got 0"),
        ({"forced_bos_token_id": 999_999}, "forced_bos_token_id=999999: the model has"),
        ({"eos_token_id": 999_999}, "eos_token_id=999999: the model has"),
        ({"max_new_tokens": -1}, "max_new_tokens is how many tokens to add, 0 or more, got -1"),
    ],
)
def test_numbers_out_of_range(loaded: LanguageModel, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        full_text(loaded, "Once", **arguments)  # type: ignore[arg-type]


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


@pytest.mark.parametrize(
    ("temperature", "expected"), [(1e-320, {1}), (1e-37, {1}), (1e37, {0, 1, 2}), (1e300, {0, 1, 2})]
)
def test_temperatures_beyond_all_measure_draw_what_they_mean(temperature: float, expected: set[int]) -> None:
    """The likeliest token, or all alike but what is forbidden."""
    logits = torch.tensor([[40.0, 41.0, -50.0, -torch.inf]])
    drawn = {int(Sampling(temperature)(logits, np.array([i / 20]))[0]) for i in range(20)}
    assert drawn == expected


def test_a_share_that_many_tokens_hold_together() -> None:
    """More of them than are sorted at first: the likeliest 1,800 of 2,000 that are nearly alike."""
    shares = torch.linspace(1.0, 1.001, 2000)[None]
    shares /= shares.sum()
    drawn = {draw(Sampling(top_p=0.9), (i + 0.5) / 4000, shares) for i in range(4000)}
    assert 1995 <= max(drawn) <= 1999 and 195 <= min(drawn) <= 205 and len(drawn) == pytest.approx(1800, abs=5)


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


def test_what_stands_before_every_text_stands_there_once() -> None:
    """A soft prompt of two tokens and [CLS]; a chat's template may write the second, or another beginning."""
    engine = SimpleNamespace(
        writes=None, tokenizer=SimpleNamespace(prompt=(100, 101)), around=lambda *, closed: ((100, 101, 1), ())
    )
    for prompt in ([100, 101, 1, 7], [1, 7], [100, 101, 7], [7]):
        found = _tokens(cast("Engine", engine), GenerationRequest(np.array(prompt)))
        assert found.tolist() == [7]
