"""Attention weights are those that the model used, and heads are summed up as they should be."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import bothways
from bothways.analysis.attention import Attention, Heads, attention, heads
from bothways.analysis.attention_page import render
from bothways.errors import UsageError
from bothways.inference.loading import Loaded
from bothways.model.attention import split_heads
from tests.inference.made import CAUSAL, HYBRID, MLM, make_run

TEXT = "The quick fox jumps over the lazy dog"


@pytest.fixture(scope="module", params=["hybrid", "causal", "classic"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("attention") / request.param
    if request.param == "classic":
        run: Path = make_run(folder, MLM, kind="wordpiece", classic=True)
    else:
        run = make_run(folder, CAUSAL if request.param == "causal" else HYBRID)
    return bothways.load(run, device="cpu")


def test_pieces_are_shown_as_text(tmp_path: Path) -> None:
    reader = bothways.load(make_run(tmp_path / "run", MLM), device="cpu").reader
    shown = attention(reader, "fox 今 naïve").pieces
    assert shown[0] == "[CLS]" and "fox" in "".join(shown) and "Ã" not in "".join(shown)
    half = [piece for piece in shown if piece == "\N{REPLACEMENT CHARACTER}"]
    assert "今" in shown or half  # the bytes of what was never met


def test_what_does_not_fit_is_said_and_nothing_is_refused(model: Loaded) -> None:
    found = attention(model.reader, "the fox " * 400)
    assert found.left_out > 0 and f"{found.left_out:,} more pieces are not shown" in render("x", found)
    assert attention(model.reader, TEXT).left_out == 0
    with pytest.raises(UsageError, match="expected a text, got nothing"):
        attention(model.reader, " ")


def test_the_weights_make_the_very_context(model: Loaded) -> None:
    """Weights times values, through the output matrix, is what the first attention gave."""
    found = attention(model.reader, TEXT)
    layers, count, places, _ = found.weights.shape
    assert (layers, count, places) == (2, 2, len(found.pieces))
    np.testing.assert_allclose(found.weights.sum(-1), 1, atol=1e-5)
    given: list[torch.Tensor] = []
    first = model.reader.model.backbone.blocks[0].attention
    hook = first.register_forward_hook(lambda module, inputs, output: given.extend((inputs[0], output)))
    again = attention(model.reader, TEXT)
    hook.remove()
    x, output = (some.clone() for some in given[:2])
    _, _, v = split_heads(first.every_head(first.qkv(x)), heads=first.heads, rotary=None)
    context = (torch.from_numpy(again.weights[:1]) @ v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(first.out(context), output, atol=1e-5, rtol=1e-4, check_stride=False)


def test_left_to_right_looks_back_only(model: Loaded) -> None:
    weights = attention(model.reader, TEXT).weights
    ahead = np.triu(np.ones(weights.shape[-2:]), 1) * weights
    assert (ahead.max() == 0) == (model.reader.trained.objective == "causal")


def test_heads_are_means_over_places(model: Loaded) -> None:
    weights = attention(model.reader, TEXT).weights
    many = heads(model.reader, [TEXT, TEXT])
    np.testing.assert_allclose(many.itself, np.diagonal(weights, axis1=2, axis2=3).mean(-1), atol=1e-5)
    places = weights.shape[-1]
    apart = np.abs(np.subtract.outer(np.arange(places), np.arange(places)))
    np.testing.assert_allclose(many.distance, (weights * apart).sum((-1, -2)) / places, atol=1e-4)
    assert (many.entropy <= np.log2(places)).all() and (many.separator > 0).all()


def test_a_page_has_a_square_a_head_and_says_what_heads_do() -> None:
    weights = np.tile(np.eye(3, k=-1, dtype=np.float32), (2, 2, 1, 1))
    zeros = np.zeros((2, 2))
    page = render(
        "x", Attention(["[CLS]", "</script>", "b"], weights), Heads(zeros, zeros, zeros, zeros + 0.9, zeros, zeros)
    )
    assert page.count('class="head"') == 4 and page.count("one before 90%") == 4
    assert "</script>" not in re.findall(r'id="pieces">(.*?)</script>', page)[0]
