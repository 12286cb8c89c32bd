"""From left to right in three ways, each read as its objective lays it out; with a cache as without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bothways.errors import ModelError, UsageError
from bothways.inference import LanguageModel
from bothways.inference.decoding.autoregressive import AUTOREGRESSIVE
from bothways.inference.decoding.generate import decode, generate, method_of
from bothways.inference.decoding.next_token import NextToken
from bothways.inference.decoding.options import GenerationOptions, GenerationRequest, Options
from bothways.inference.decoding.sampling import repeating
from bothways.inference.decoding.sequence import RunningSequence
from bothways.model import Abilities
from tests.inference.decoding.explicit import greedy, next_logits
from tests.inference.made import (
    CAUSAL,
    DIFFUSION,
    ENGLISH,
    HYBRID,
    MLM,
    PREFIX,
    UNILM1,
    UNILM2,
    full_text,
    load,
    make_run,
)

PROMPTS = ["Once upon a time", "", "A small", "今天天气", "The quick brown fox jumps over the lazy dog. Reading is"]
WAYS = {"decoder": CAUSAL, "prefix": PREFIX, "append-mask": UNILM1}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LanguageModel]:
    folder = tmp_path_factory.mktemp("ways")
    made = {way: load(make_run(folder / way, trained, seed=1, length=32)) for way, trained in WAYS.items()}
    few = load(make_run(folder / "pseudo-mask", UNILM2, classic=True, segments=2))
    return made | {"classic": load(make_run(folder / "classic", UNILM1, classic=True)), "pseudo-mask": few}


@pytest.mark.parametrize("name", ["decoder", "prefix", "append-mask", "pseudo-mask", "classic"])
def test_the_cache_gives_the_logits_of_the_text_read_anew(name: str, models: dict[str, LanguageModel]) -> None:
    """To 2e-5 of the largest, laid by the objective's own arrangement, segments too; unequal rows stand together."""
    found, way = models[name], "append-mask" if name == "classic" else name
    own = found.engine.tokenizer
    begun = [own.encode(prompt) for prompt in PROMPTS]
    written = np.random.default_rng(0).choice(np.flatnonzero(own.vocabulary.text_table()), size=(6, len(PROMPTS)))
    rows = [np.array([own.vocabulary.cls, *tokens]) for tokens in begun]
    told = NextToken(found.engine, AUTOREGRESSIVE[way], rows=len(rows), longest=7 + max(map(len, rows)))
    random, opening = np.random.default_rng(0), (own.vocabulary.cls,)
    sequences = [RunningSequence(np.array(one), GenerationOptions(), random, opening=opening) for one in begun]
    told.join(sequences, rows)
    for count in range(7):
        for row, tokens in enumerate(begun):
            expected = next_logits(found, way, tokens, written[:count, row].tolist())
            assert (told.logits[row] - expected).abs().max() <= 2e-5 * expected.abs().max()
        if count < 6:
            told.add(written[count])


def test_the_ways_differ(models: dict[str, LanguageModel]) -> None:
    """One set of weights, three answers: so the test above tells them apart."""
    tokens = models["prefix"].engine.tokenizer.encode(PROMPTS[0])
    causal, prefix, asked = (next_logits(models["prefix"], way, tokens, []) for way in WAYS)
    assert (causal - prefix).abs().max() > 0.01 < (prefix - asked).abs().max()
    classic = models["classic"]
    plain = classic.engine.model.backbone.embeddings.segments
    assert plain is not None
    before = next_logits(classic, "append-mask", tokens, [])
    with torch.no_grad():
        plain.weight[4:] += torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    assert (next_logits(classic, "append-mask", tokens, []) - before).abs().max() > 0.01


@pytest.mark.parametrize("name", ["prefix", "append-mask", "pseudo-mask", "classic"])
def test_greedy_equals_the_slow_way(name: str, models: dict[str, LanguageModel]) -> None:
    way = "append-mask" if name == "classic" else name
    prompts = PROMPTS[:-1]  # the last one outgrows the model
    expected = [greedy(models[name], way, prompt, 12) for prompt in prompts]
    assert full_text(models[name], prompts, max_new_tokens=12, temperature=0) == expected


CHOICES: list[Options] = [
    {"temperature": 0},
    {"seed": 3},
    {"num_beams": 3},
    {"temperature": 0, "no_repeat_ngram_size": 2},
    {"num_beams": 3, "no_repeat_ngram_size": 2},
]


@pytest.mark.parametrize("options", CHOICES, ids=str)
@pytest.mark.parametrize("name", ["decoder", "prefix", "append-mask"])
def test_an_answer_does_not_depend_on_its_company(
    name: str, options: Options, models: dict[str, LanguageModel]
) -> None:
    """Some outgrow the model while the others do not."""
    prompts = [*PROMPTS, ENGLISH[0]]
    assert 32 - 16 < len(models[name].engine.tokenizer.encode(PROMPTS[-1])) < 31
    together = full_text(models[name], prompts, max_new_tokens=16, **options)
    assert all(text.startswith(prompt) for text, prompt in zip(together, prompts, strict=True))
    if "seed" not in options:
        assert together == [full_text(models[name], prompt, max_new_tokens=16, **options) for prompt in prompts]
    else:
        assert together[:2] == full_text(models[name], prompts[:2], max_new_tokens=16, **options)


@settings(max_examples=25, deadline=None)
@given(
    way=st.sampled_from(list(WAYS)),
    run=st.integers(1, 3),
    beams=st.sampled_from([None, 1, 3]),
    temperature=st.sampled_from([0.0, 1.0]),
    seed=st.integers(0, 99),
)
def test_a_blocked_run_never_repeats(
    way: str, run: int, beams: int | None, temperature: float, seed: int, models: dict[str, LanguageModel]
) -> None:
    """Rows of a batch do not block each other; a prompt counts, but a source that is read from all sides does not."""
    engine = models[way].engine
    prompts = ["Once upon a time", "Once upon a time a", ""]
    begun = [np.array(engine.tokenizer.encode(prompt), dtype=np.int64) for prompt in prompts]
    options = GenerationOptions(
        max_new_tokens=24, temperature=temperature, num_beams=beams, no_repeat_ngram_size=run, seed=seed
    )
    steps = decode(engine, [GenerationRequest(tokens, options) for tokens in begun])
    texts = {one.number: one for grown in steps for one in grown}
    for text in texts.values():
        counted = [*(text.prompt.tolist() if way == "decoder" else []), *text.tokens]
        runs = [tuple(counted[i : i + run]) for i in range(len(counted) - run + 1)]
        fixed = max(0, len(counted) - len(text.tokens) - run + 1)  # within the prompt
        assert len(set(runs[fixed:])) == len(runs[fixed:]) and not set(runs[:fixed]) & set(runs[fixed:])
        assert text.tokens


@pytest.mark.parametrize("beams", [None, 2])
def test_what_is_blocked_is_a_rows_own(beams: int | None, models: dict[str, LanguageModel]) -> None:
    """The same prompt three times, and another: each is written as if it were alone."""
    options: Options = {"no_repeat_ngram_size": 1, "max_new_tokens": 12} | (
        {"num_beams": beams} if beams else {"temperature": 0}
    )
    prompts = ["Once upon", "Once upon", "A small fox", "Once upon"]
    written = full_text(models["decoder"], prompts, **options)
    assert written == [full_text(models["decoder"], prompt, **options) for prompt in prompts]


def test_a_source_may_be_quoted(models: dict[str, LanguageModel]) -> None:
    """Where the prompt counts, the token that would come next is blocked because it stands there already."""
    for way in ("decoder", "prefix"):
        own, found = models[way].engine.tokenizer, models[way]
        first = own.encode(full_text(found, "Once upon", max_new_tokens=1, temperature=0))[-1:]
        prompt = own.decode([*first, *own.encode(" Once upon")])
        likeliest, other = (
            full_text(found, prompt, max_new_tokens=1, temperature=0, **more)
            for more in ({}, {"no_repeat_ngram_size": 1})
        )
        said = own.encode(likeliest)[-1]
        assert (likeliest == other) == (way == "prefix" or said not in own.encode(prompt))


def test_without_blocking_runs_do_repeat(models: dict[str, LanguageModel]) -> None:
    """So the test above blocks something."""
    engine = models["decoder"].engine
    request = GenerationRequest(np.array([7, 8]), GenerationOptions(temperature=0, max_new_tokens=24))
    (found,) = generate(engine, [request])
    assert len({*zip(found.tokens, found.tokens[1:], strict=False)}) < len(found.tokens) - 1


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 4), st.integers(0, 3))
def test_what_repeats(written: list[int], run: int, token: int) -> None:
    """A token is blocked if, and only if, it makes a run come again."""
    runs = {tuple(written[i : i + run]) for i in range(len(written) - run + 1)}
    again = len(written) >= run - 1 and tuple([*written, token][-run:]) in runs
    assert (token in repeating(written, run)) == again


# What is asked of whom.


@pytest.mark.parametrize(
    ("trained", "way", "in_steps"),
    [
        (HYBRID, "decoder", None),
        (PREFIX, "prefix", None),
        (UNILM1, "append-mask", None),
        (UNILM2, "pseudo-mask", None),
        (MLM, None, None),
        (DIFFUSION, "unmask", "unmask"),
        (Abilities("x", ("decoder", "encoder"), "in place", {"unmask": 0}), "decoder", "unmask"),
        (Abilities("x", ("encoder",), "in place", {"unmask": 0, "blocks": 4}), "blocks", "blocks"),
    ],
)
def test_the_way_of_writing(trained: Abilities, way: str | None, in_steps: str | None) -> None:
    assert method_of(trained) == way
    assert method_of(trained, in_steps=True) == in_steps


def test_steps_are_for_those_who_unmask(models: dict[str, LanguageModel]) -> None:
    with pytest.raises(
        ModelError,
        match="not taught to continue a text in a number of steps: its objective, prefix, gives the faces: decoder, "
        "and the ways of decoding: prefix. Pretrain one with",
    ):
        full_text(models["prefix"], "a", steps=3)
    with pytest.raises(UsageError, match="order is for unmasking"):
        full_text(models["prefix"], "a", order="random")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 0}, "num_beams is how many candidates are kept, 1 or more, got 0"),
        ({"num_beams": 2, "top_k": 3}, "beams look for the likeliest text and sample nothing: leave out"),
        ({"num_beams": 2, "temperature": 0.7}, "beams look for the likeliest"),
        (
            {"no_repeat_ngram_size": 0},
            "no_repeat_ngram_size is the length of a run that .*, got 0",
        ),
        ({"steps": 0}, "steps is in how many passes everything is predicted, 1 or more, got 0"),
        ({"order": "rondom"}, "unknown order 'rondom'. Did you mean 'random'"),
    ],
)
def test_options_out_of_range(options: Options, message: str, models: dict[str, LanguageModel]) -> None:
    with pytest.raises(UsageError, match=message):
        full_text(models["decoder"], "a", **options)


def test_options_are_the_fields_of_the_record() -> None:
    assert Options.__annotations__.keys() == GenerationOptions.__dataclass_fields__.keys()
    assert get_type_hints(Options) == get_type_hints(GenerationOptions)


def test_runs_of_the_first_kinds_are_listed(tmp_path: Path) -> None:
    """A saved way of decoding is read again."""
    assert load(make_run(tmp_path / "run", UNILM1)).engine.abilities == UNILM1


@pytest.mark.parametrize(
    "options", [{"temperature": 0}, {"num_beams": 2}, {"num_beams": 2, "no_repeat_ngram_size": 3}], ids=str
)
@pytest.mark.parametrize("name", ["decoder", "prefix", "append-mask"])
def test_a_prompt_longer_than_the_model_goes_on_from_its_newer_half(
    name: str, options: Options, models: dict[str, LanguageModel]
) -> None:
    """Four times as long as the model reads: the answer is that of the newest 16 tokens, with the whole prompt kept."""
    found = models[name]
    own, room = found.engine.tokenizer, 32 - AUTOREGRESSIVE[name].appends_mask
    prompt = "the quick brown fox jumps over " * 12
    tokens = own.encode(prompt)
    newest = own.decode(tokens[len(tokens) - room // 2 :])
    assert len(tokens) > 4 * 32 and own.encode(newest) == tokens[len(tokens) - room // 2 :]
    written = full_text(found, [prompt, "A small"], max_new_tokens=10, **options)
    if "no_repeat_ngram_size" not in options or name != "decoder":  # there, what it forgot is blocked too
        assert written[0] == prompt + full_text(found, newest, max_new_tokens=10, **options).removeprefix(newest)
    assert written[0].startswith(prompt) and written == full_text(
        found, [prompt, "A small"], max_new_tokens=10, **options
    )


BACKWARD = Abilities("reversed", (), None)
DETECTS = Abilities("electra", ("encoder",), None, {"detect": 0})


@pytest.mark.parametrize(
    ("trained", "question", "message"),
    [
        (
            BACKWARD,
            lambda found: full_text(found, "a"),
            "not taught to continue a text: .* reversed, gives the faces: none",
        ),
        (MLM, lambda found: full_text(found, "a"), "not taught to continue a text: .* mlm, gives the faces: encoder"),
        (DETECTS, lambda found: full_text(found, "a"), "electra, gives .* encoder, and the ways of decoding: detect"),
        (DETECTS, lambda found: found.infill("[GAP]"), "not taught to fill in hidden words: .* decoding: detect"),
        (PREFIX, lambda found: found.infill("[GAP]"), "not taught to fill in hidden words: .* decoder, .* prefix"),
        (UNILM1, lambda found: full_text(found, "a", steps=2), "in a number of steps: .* encoder, .* append-mask"),
        (HYBRID, lambda found: full_text(found, "a", steps=2), "in a number of steps: .* encoder and decoder"),
    ],
)
def test_what_was_not_taught_is_refused_and_what_was_is_named(
    trained: Abilities, question: Callable[[LanguageModel], str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=f"{message}.*Pretrain one with the objective"):
        question(load(make_run(tmp_path / "run", trained, heads=["replaced"] if trained == DETECTS else [])))
