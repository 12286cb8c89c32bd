"""Attention weights are those that the model used, and heads are summed up as they should be."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import bothways
from bothways.errors import ModelError, UsageError
from bothways.evaluation.inspection.attention import AttentionMaps, Heads, attention, heads
from bothways.evaluation.inspection.attention_page import render
from bothways.inference.language_model import LanguageModel
from bothways.model.attention import split_heads
from tests.inference.made import CAUSAL, HYBRID, MLM, make_run

TEXT = "The quick fox jumps over the lazy dog"


@pytest.fixture(scope="module", params=["hybrid", "causal", "classic"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("attention") / request.param
    if request.param == "classic":
        run: Path = make_run(folder, MLM, kind="wordpiece", classic=True)
    else:
        run = make_run(folder, CAUSAL if request.param == "causal" else HYBRID)
    return bothways.load(run, device="cpu")


def test_tokens_are_shown_as_text(tmp_path: Path) -> None:
    engine = bothways.load(make_run(tmp_path / "run", MLM), device="cpu").engine
    shown = attention(engine, "fox 今 naïve")[0].tokens
    assert shown[0] == "[CLS]" and "fox" in "".join(shown) and "Ã" not in "".join(shown)
    half = [token for token in shown if token == "\N{REPLACEMENT CHARACTER}"]
    assert "今" in shown or half  # the bytes of what was never met


def test_what_does_not_fit_is_said_and_nothing_is_refused(model: LanguageModel) -> None:
    found = attention(model.engine, "the fox " * 400)
    assert found[0].left_out > 0 and f"{found[0].left_out:,} more tokens are not shown" in render("x", found)
    assert attention(model.engine, TEXT)[0].left_out == 0
    with pytest.raises(UsageError, match="expected a text, got nothing"):
        attention(model.engine, " ")


def test_the_weights_make_the_very_context(model: LanguageModel) -> None:
    """Weights times values, through the output matrix, is what the first attention gave."""
    found = attention(model.engine, TEXT)[0]
    layers, count, places, _ = found.weights.shape
    assert (layers, count, places) == (2, 2, len(found.tokens))
    np.testing.assert_allclose(found.weights.sum(-1), 1, atol=1e-5)
    given: list[torch.Tensor] = []
    first = model.engine.model.backbone.blocks[0].attention
    hook = first.register_forward_hook(lambda module, inputs, output: given.extend((inputs[0], output)))
    again = attention(model.engine, TEXT)[0]
    hook.remove()
    x, output = (some.clone() for some in given[:2])
    _, _, v = split_heads(first.every_head(first.qkv(x)), heads=first.heads, rotary=None)
    context = (torch.from_numpy(again.weights[:1]) @ v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(first.out(context), output, atol=1e-5, rtol=1e-4, check_stride=False)


def test_each_way_of_reading_is_shown(model: LanguageModel) -> None:
    """Left to right looks back only, and its text is not closed."""
    found = attention(model.engine, TEXT)
    expected = {"hybrid": ["all sides", "left to right"], "causal": ["left to right"], "mlm": ["all sides"]}
    assert [one.reads for one in found] == expected[model.engine.abilities.objective]
    page = render("x", found)
    for one in found:
        ahead = np.triu(np.ones(one.weights.shape[-2:]), 1) * one.weights
        assert (ahead.max() == 0) == (one.reads == "left to right")
        assert one.special[0] and one.special[-1] == (one.reads == "all sides")
        assert f"Read {'from all sides' if one.reads == 'all sides' else one.reads}" in page


def test_heads_are_means_over_places(model: LanguageModel) -> None:
    for found in attention(model.engine, TEXT):
        many = heads(model.engine, [TEXT, TEXT], found.reads)
        weights = found.weights
        np.testing.assert_allclose(many.itself, np.diagonal(weights, axis1=2, axis2=3).mean(-1), atol=1e-5)
        places = weights.shape[-1]
        apart = np.abs(np.subtract.outer(np.arange(places), np.arange(places)))
        np.testing.assert_allclose(many.distance, (weights * apart).sum((-1, -2)) / places, atol=1e-4)
        assert (many.entropy <= np.log2(places)).all() and (many.separator > 0).all()
        for name in ("distance", "entropy", "itself", "before", "after", "separator"):
            np.testing.assert_allclose(getattr(found.heads, name), getattr(many, name), atol=1e-4)


def seen(tokens: list[str], weights: np.ndarray) -> AttentionMaps:
    return AttentionMaps("all sides", tokens, np.array([token.startswith("[") for token in tokens]), weights)


def test_a_title_is_of_the_very_text_and_the_table_of_many() -> None:
    """Each token looks at the one before it; over many texts, heads look at themselves."""
    weights = np.tile(np.eye(9, k=-1, dtype=np.float32), (2, 2, 1, 1))
    weights[:, :, 0, 0] = 1
    zeros = np.zeros((2, 2))
    many = Heads(zeros, zeros, zeros + 0.9, zeros, zeros, zeros)
    page = render("x", [seen(["[CLS]", "</script>", *"bcdefgh"], weights)], [many])
    assert page.count('class="head"') == 4 and page.count(": one before 89%</h3>") == 4
    assert "itself 90%" not in page and page.count("<td>0.90</td>") == 4
    assert "</script>" not in re.findall(r'id="tokens-0">(.*?)</script>', page)[0]
    assert "to special tokens" in page and ">separator<" not in page


def test_a_square_has_axes_and_a_scale() -> None:
    weights = np.full((1, 1, 28, 28), 1 / 28, dtype=np.float32)
    page = render("x", [seen(["[CLS]", *"abcdefghijklmnopqrstuvwxyz", "[SEP]"], weights)])
    (square,) = re.findall(r'<svg[^>]*class="head".*?</svg>', page)
    assert "is attended to" in square and ">attends<" in square
    numbers = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="(middle|end)">(\d+)</text>', square)
    assert [number for _, _, side, number in numbers if side == "middle"] == ["10", "20"]
    assert [number for _, _, side, number in numbers if side == "end"] == ["10", "20"]
    (shades,) = re.findall(r'<svg[^>]*class="shades".*?</svg>', page)
    assert re.findall(r">([\d.]+)</text>", shades) == ["0.02", "0.06", "0.14", "0.25", "0.39", "0.56", "0.77", "1.00"]
    level = round(8 * (1 / 28) ** 0.5) / 8  # the shade that 1/28 has
    assert set(re.findall(r'opacity="([\d.]+)"', square)) == {f"{level:g}"}
    assert "<span>a<sub>2</sub></span>" in page


def test_few_tokens_stand_along_the_square_by_name() -> None:
    weights = np.full((1, 1, 6, 6), 1 / 6, dtype=np.float32)
    names = ["[CLS]", " the", "unbelievably", "今天天气很好啊", "天", "[SEP]"]
    page = render("x", [seen(names, weights)])
    (square,) = re.findall(r'<svg[^>]*class="head".*?</svg>', page)
    marks = ["[CLS]", "the", "unbelieva…", "今天天气…", "天", "[SEP]"]
    assert re.findall(r'class="end">([^<]*)<', square) == marks
    assert re.findall(r"translate\(0 3\)\">([^<]*)<", square) == [mark for mark in marks if len(mark) > 1]
    assert '">天</text>' in re.sub(r'class="end"', "", square).split("attends<")[1]  # one letter stands upright


def test_the_page_has_every_weight_to_sixteen_bits(model: LanguageModel) -> None:
    """A hundred even weights of 8 bits would sum up to 1.18."""
    found = attention(model.engine, "the quick fox jumps over the lazy dog " * 6)
    stored = re.findall(r'data-weights="([^"]+)"', render("x", found))
    weights = np.frombuffer(base64.b64decode(stored[0]), dtype=">u2").reshape(found[0].weights.shape[-2:]) / 65535
    np.testing.assert_allclose(weights, found[0].weights[0, 0], atol=1e-5)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-3)


def test_damaged_weights_are_an_error(tmp_path: Path) -> None:
    broken = bothways.load(make_run(tmp_path / "run", HYBRID), device="cpu").engine
    with torch.no_grad():
        broken.model.backbone.blocks[0].down.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="got what is not finite"):
        attention(broken, TEXT)
