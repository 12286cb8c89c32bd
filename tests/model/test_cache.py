"""Reading token by token with a cache gives what reading at once gives, whoever shares it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bothways.model import Cache, Model
from bothways.visibility import Layout, ordered
from tests.model.small import MODERN, SHAPES, changed, model_of, packed, random_tokens

GROUPED = SHAPES | {"grouped": changed(MODERN, heads=4, attention={"key_heads": 2, "head_norm": True})}


def part(layout: Layout, start: int, stop: int) -> Layout:
    return layout.map(lambda column: column[:, start:stop])


def read(model: Model, cache: Cache, tokens: Tensor, layout: Layout, known: Layout) -> Tensor:
    with torch.no_grad():
        states: Tensor = model.backbone(tokens, layout, ordered.dense(layout, known), cache=cache)
    return states


def at_once(model: Model, tokens: Tensor, layout: Layout) -> Tensor:
    with torch.no_grad():
        states: Tensor = model.backbone(tokens, layout, ordered.dense(layout))
    return states


@pytest.mark.parametrize("cuts", [[12], [1] * 12, [5, 1, 1, 3, 2]])
@pytest.mark.parametrize("shape", GROUPED)
def test_cached_equals_uncached(shape: str, cuts: list[int]) -> None:
    """Rows of several documents and of unequal length, read in parts of any size."""
    config, layout = GROUPED[shape], packed([12], [4, 5], causal=True)
    model, tokens = model_of(config), random_tokens(layout)
    cache = Cache(config, rows=2, capacity=12, like=model.table)
    cache.take(2)
    found, start = [], 0
    for size in cuts:
        new = part(layout, start, start + size)
        known = cache.grow(new)
        found.append(read(model, cache, tokens[:, start : start + size], new, known))
        start += size
    assert cache.lengths == [12, 9]
    torch.testing.assert_close(torch.cat(found, dim=1), at_once(model, tokens, layout), atol=2e-5, rtol=1e-5)


def test_what_is_forgotten_can_be_read_again() -> None:
    config, layout = MODERN, packed([10], causal=True)
    model, tokens = model_of(config), random_tokens(layout)
    cache = Cache(config, rows=1, capacity=10, like=model.table)
    cache.take(1)
    expected = read(model, cache, tokens, layout, cache.grow(layout))
    cache.keep([6])
    assert cache.lengths == [6]
    rest = part(layout, 6, 10)
    found = read(model, cache, tokens[:, 6:], rest, cache.grow(rest))
    torch.testing.assert_close(found, expected[:, 6:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", GROUPED)
def test_a_slot_freed_is_taken_by_the_next_and_nobody_notices(shape: str) -> None:
    """Three slots, five sequences of 3 to 9 tokens that come and go: each has the states that it has alone."""
    config, lengths = GROUPED[shape], [5, 9, 3, 7, 4]
    model = model_of(config)
    layouts = [packed([length], causal=True) for length in lengths]
    tokens = [random_tokens(layout, seed=seed) for seed, layout in enumerate(layouts)]
    expected = [at_once(model, *pair) for pair in zip(tokens, layouts, strict=True)]
    cache = Cache(config, rows=3, capacity=9, like=model.table)
    waiting, running, seen = list(range(5)), [], 0
    while waiting or running:
        while waiting and len(running) < 3:
            one = waiting.pop(0)
            cache.take(1)
            first = part(layouts[one], 0, 2)
            states = read(model, cache, tokens[one][:, :2], first, cache.grow(first))
            torch.testing.assert_close(states, expected[one][:, :2], atol=2e-5, rtol=1e-5)
            running.append(one)
        places = list(cache.lengths)
        new = [part(layouts[one], place, place + 1) for one, place in zip(running, places, strict=True)]
        layout = Layout.stack([one.map(lambda column: column[0].numpy()) for one in new])
        fed = torch.cat([tokens[one][:, place : place + 1] for one, place in zip(running, places, strict=True)])
        states = read(model, cache, fed, layout, cache.grow(layout))
        for row, (one, place) in enumerate(zip(running, places, strict=True)):
            torch.testing.assert_close(states[row, 0], expected[one][0, place], atol=2e-5, rtol=1e-5)
            seen += 1
        kept = [row for row, one in enumerate(running) if cache.lengths[row] < lengths[one]]
        rows = [*kept[-1:], *kept[:-1]]  # in another order: a row may move
        cache.select(rows)
        running = [running[row] for row in rows]
    assert seen == sum(lengths) - 2 * len(lengths)


def test_keys_are_kept_once_for_the_heads_that_share_them() -> None:
    config = GROUPED["grouped"]
    layer = Cache(config, rows=3, capacity=9, like=model_of(config).table).layers[0]
    assert layer.keys.shape == layer.values.shape == (3, 2, 9, config.head_width)
