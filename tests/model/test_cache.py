"""Reading token by token with a cache gives what reading at once gives."""

from __future__ import annotations

import pytest
import torch

from bothways.model import Cache
from bothways.visibility import Layout, ordered
from tests.model.small import SHAPES, model_of, packed, random_tokens


def part(layout: Layout, start: int, stop: int) -> Layout:
    return layout.map(lambda column: column[:, start:stop])


@pytest.mark.parametrize("cuts", [[12], [1] * 12, [5, 1, 1, 3, 2]])
@pytest.mark.parametrize("shape", SHAPES)
def test_cached_equals_uncached(shape: str, cuts: list[int]) -> None:
    """Rows of several documents and of unequal length, read in parts of any size."""
    config, layout = SHAPES[shape], packed([12], [4, 5], causal=True)
    model, tokens = model_of(config), random_tokens(layout)
    cache = Cache(config, rows=2, capacity=12, like=model.table)
    found, start = [], 0
    with torch.no_grad():
        expected = model.backbone(tokens, layout, ordered.dense(layout))
        for size in cuts:
            new = part(layout, start, start + size)
            mask = ordered.dense(new, cache.grow(new))
            found.append(model.backbone(tokens[:, start : start + size], new, mask, cache=cache))
            start += size
            assert cache.length == start
    torch.testing.assert_close(torch.cat(found, dim=1), expected, atol=2e-5, rtol=1e-5)


def test_what_is_forgotten_can_be_read_again() -> None:
    config, layout = SHAPES["modern"], packed([10], causal=True)
    model, tokens = model_of(config), random_tokens(layout)
    cache = Cache(config, rows=1, capacity=10, like=model.table)
    with torch.no_grad():
        first = part(layout, 0, 10)
        expected = model.backbone(tokens, first, ordered.dense(first, cache.grow(first)), cache=cache)
        cache.keep(6)
        assert cache.length == 6
        rest = part(layout, 6, 10)
        found = model.backbone(tokens[:, 6:], rest, ordered.dense(rest, cache.grow(rest)), cache=cache)
    torch.testing.assert_close(found, expected[:, 6:], atol=1e-5, rtol=1e-5)
