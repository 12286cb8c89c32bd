"""Beam search: one beam is greedy, beams enough find the best of all texts, and the score is what it is said to be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bothways.inference import LanguageModel
from bothways.inference.decoding.beams import BeamSearch, Candidate
from bothways.inference.decoding.generate import decode
from bothways.inference.decoding.options import GenerationOptions, GenerationRequest
from bothways.inference.decoding.sequence import RunningSequence
from bothways.model import Cache, Model, ModelConfig
from bothways.visibility import Layout, ordered
from tests.inference.decoding.explicit import allowed, next_logits
from tests.inference.made import CAUSAL, ENGLISH, PREFIX, UNILM1, full_text, load, make_run

WAYS = {"decoder": CAUSAL, "prefix": PREFIX, "append-mask": UNILM1}
PROMPTS = ["Once upon a time", "", "今天天气", ENGLISH[0], "A small"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(3))
def test_one_beam_is_greedy(way: str, seed: int, tmp_path: Path) -> None:
    found = load(make_run(tmp_path / "run", WAYS[way], seed=seed))
    for penalty in (0.0, 1.0):
        beam = full_text(found, PROMPTS, max_new_tokens=45, num_beams=1, length_penalty=penalty)
        assert beam == full_text(found, PROMPTS, max_new_tokens=45, temperature=0)


def everything(found: LanguageModel, way: str, prompt: str, count: int) -> Iterator[tuple[float, list[int], str]]:
    """All that can be written in at most `count` tokens: (log-probability, tokens with [SEP], text)."""
    own = found.engine.tokenizer
    begun, waiting = own.encode(prompt), [(0.0, list[int]())]
    while waiting:
        total, new = waiting.pop()
        if len(new) == count or (new and new[-1] == own.vocabulary.sep):
            yield total, new, prompt + own.decode([*begun, *new]).removeprefix(own.decode(begun))
            continue
        nats = next_logits(found, way, begun, new).double().log_softmax(-1)
        tokens = allowed(found, nats).isfinite().nonzero().flatten().tolist()
        waiting += [(total + nats[token].item(), [*new, token]) for token in tokens]


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.5])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(2))
def test_beams_enough_find_the_best_of_all_texts(way: str, seed: int, penalty: float, tmp_path: Path) -> None:
    """Three words and [SEP], four tokens: 121 texts."""
    found = load(make_run(tmp_path / "run", WAYS[way], kind="letters", seed=seed))
    for prompt in ("a", "c b b"):
        texts = list(everything(found, way, prompt, 4))
        assert len(texts) == 1 + 3 + 9 + 27 + 81
        expected = max(texts, key=lambda one: one[0] / ((5 + len(one[1])) / 6) ** penalty)
        assert full_text(found, prompt, max_new_tokens=4, num_beams=200, length_penalty=penalty) == expected[2]


def search_of(prompt: np.ndarray, **options: Any) -> BeamSearch:
    return BeamSearch(RunningSequence(prompt, GenerationOptions(**options), np.random.default_rng(0), frozenset({3})))


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0])
def test_the_penalty_is_that_of_gnmt(penalty: float) -> None:
    """score(Y) = log P(Y) / lp(Y), lp(Y) = (5 + |Y|)^a / (5 + 1)^a (Wu et al. 2016, section 7, equation 14)."""
    one = search_of(np.zeros(0, dtype=np.int64), max_new_tokens=3, num_beams=1, length_penalty=penalty)
    for token in (9, 8, 7):
        one.step(np.array([[-1.5]]), np.array([[token]]))
    assert one.closed == [(pytest.approx(-4.5 * (5 + 1) ** penalty / (5 + 3) ** penalty), Candidate((9, 8, 7), -4.5))]


def test_the_penalty_decides_how_long_texts_are(tmp_path: Path) -> None:
    found = load(make_run(tmp_path / "run", CAUSAL, kind="letters", seed=1))
    short, long = (
        full_text(found, "a", max_new_tokens=6, num_beams=2000, length_penalty=penalty) for penalty in (0, 5.0)
    )
    assert len(short) < len(long)


def test_the_sum_is_the_log_probability_of_what_was_written(loaded: LanguageModel) -> None:
    """Token by token, over the whole vocabulary; and more beams find likelier texts here (no law of beam search)."""
    engine = loaded.engine
    prompts = [np.array(engine.tokenizer.encode(prompt), dtype=np.int64) for prompt in ("Once upon", "A small")]

    def found(beams: int) -> float:
        options = GenerationOptions(num_beams=beams, max_new_tokens=6)
        *_, texts = decode(engine, [GenerationRequest(prompt, options) for prompt in prompts])
        total = 0.0
        for text in texts:
            ended = [engine.tokenizer.vocabulary.sep] if text.finish_reason == "stop" else []
            nats = 0.0
            for i, token in enumerate([*text.tokens, *ended]):
                logits = next_logits(loaded, "decoder", text.prompt.tolist(), text.tokens[:i])
                nats += logits.log_softmax(-1)[token].item()
            assert text.logprob == pytest.approx(nats, abs=1e-3)
            total += nats
        return total

    assert found(1) < found(4) < found(16)
    best = search_of(prompts[0], max_new_tokens=1, num_beams=2, length_penalty=1.0)
    best.step(np.array([[-0.5, -1.0]]), np.array([[9, 7]]))
    assert best.closed == [(-0.5, Candidate((9,), -0.5)), (-1.0, Candidate((7,), -1.0))]


def test_beams_that_all_end(tmp_path: Path) -> None:
    """With no_repeat_ngram_size=1 the three words are used up, and then only [SEP] is left."""
    found = load(make_run(tmp_path / "run", CAUSAL, kind="letters", seed=2))
    for beams in (1, 3, 50):
        text = full_text(found, "a", max_new_tokens=9, num_beams=beams, no_repeat_ngram_size=1, length_penalty=9.0)
        written = text.split()[1:]
        assert len(written) == len(set(written)) <= 3


def test_a_cache_with_its_rows_in_another_order() -> None:
    """Rows taken twice, left out, exchanged; more and fewer than there were."""
    config = ModelConfig(vocabulary=30, layers=2, width=32, heads=2, inner=64, length=16, init=0.2)
    model = Model(config).eval()
    tokens = torch.arange(15).view(3, 5)
    steps = torch.arange(5).expand(3, 5)
    zeros = torch.zeros_like(steps)
    layout = Layout(document=zeros, step=steps, group=zeros, position=steps)
    with torch.no_grad():
        for chosen in ([2, 0, 0], [1], [0, 1, 2, 2, 1], [2, 1, 0]):
            rows = torch.tensor(chosen)
            cache = Cache(config, rows=5, capacity=6, like=model.table)
            cache.take(3)
            first, rest = (layout.map(lambda c, part=part: c[:, part]) for part in (slice(0, 4), slice(4, 5)))
            model.backbone(tokens[:, :4], first, ordered.dense(first, cache.grow(first)), cache=cache)
            cache.select(chosen)
            last = rest.map(lambda c, rows=rows: c[rows])
            found = model.backbone(tokens[rows, 4:], last, ordered.dense(last, cache.grow(last)), cache=cache)
            whole = model.backbone(tokens[rows], layout.map(lambda c, rows=rows: c[rows]), ordered.dense(layout)[:1])
            assert torch.allclose(found[:, 0], whole[:, -1], atol=1e-5)
