"""Probes of every layer find what is there, and their controls what a probe could learn by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import bothways
from bothways.errors import BothwaysError, ModelError
from bothways.evaluation.inspection.layerwise import Layer, _items, layerwise
from bothways.evaluation.inspection.layerwise_page import render
from bothways.inference.engine import Engine
from bothways.tasks.task import Example
from tests.inference.made import CAUSAL, HYBRID, make_run

WORDS = "the quick fox jumps over the lazy dog".split()


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["hybrid", "causal"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    trained = CAUSAL if request.param == "causal" else HYBRID
    return bothways.load(make_run(tmp_path_factory.mktemp("layers") / request.param, trained), device="cpu").engine


def tagged(folder: Path, count: int, first: int = 0) -> Path:
    """The tag is the word itself: the embeddings hold it."""
    rows = [[WORDS[(n * 3 + i * (1 + n % 4)) % 8] for i in range(8)] for n in range(first, first + count)]
    return write(
        folder / f"tags-{first}.jsonl",
        *({"tokens": row, "tags": ["B-animal" if word in ("fox", "dog") else "O" for word in row]} for row in rows),
    )


def test_what_the_embeddings_hold_is_found_in_the_first_layer(engine: Engine, tmp_path: Path) -> None:
    found = layerwise(engine, "tag", tagged(tmp_path, 60), tagged(tmp_path, 20, first=60))
    assert len(found) == engine.model.config.layers + 1
    assert found[0].accuracy > 0.98 > found[0].most_common
    assert found[0].control > 0.9  # one label a word is in the embeddings too: no selectivity
    assert abs(found[0].selectivity) < 0.1


def test_a_page_shows_every_layer_and_stands_alone() -> None:
    layers = [Layer(0.4, 0.3, 0.25), Layer(0.81, 0.35, 0.25)]
    page = render({"one": layers, "two": layers[::-1]}, task="tag")
    assert page.count("0.460") >= 2 and "commonest" in page and "two" in page
    assert "src=" not in page and "http:" not in page


def test_texts_have_a_control_at_chance(engine: Engine, tmp_path: Path) -> None:
    def texts(first: int) -> Path:
        rows = [
            (" ".join([*WORDS[n % 5 : n % 5 + 3], "fox" if n % 2 else "dog"]), n % 2) for n in range(first, first + 60)
        ]
        return write(tmp_path / f"texts-{first}.jsonl", *({"text": text, "label": label} for text, label in rows))

    found = layerwise(engine, "classify", texts(0), texts(60))
    assert max(layer.accuracy for layer in found) > 0.95
    assert all(layer.control < 0.75 for layer in found)


def test_no_token_of_a_text_is_cut(engine: Engine) -> None:
    items = _items(engine, [Example("0", ("a fox",), "x", "line 1")])
    own, tokens = engine.tokenizer, engine.tokenizer.encode("a fox")
    (row,) = items.words.rows
    assert [token for token in row.tolist() if token not in own.vocabulary.special] == [*tokens]


def test_bad_input(engine: Engine, tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", *({"text": f"fox {n}", "label": "a"} for n in range(4)))
    with pytest.raises(BothwaysError, match="a probe needs two classes or more, got only 'a'"):
        layerwise(engine, "classify", one, one)
    with pytest.raises(BothwaysError, match="layers are probed for classify or tag, got 'relate'"):
        layerwise(engine, "relate", one, one)
    two = write(tmp_path / "two.jsonl", *({"text": f"fox {n}", "label": "ab"[n % 2]} for n in range(4)))
    new = write(tmp_path / "new.jsonl", {"text": "fox", "label": "c"})
    with pytest.raises(BothwaysError, match=r"new.jsonl: the labels c are not in .*two.jsonl"):
        layerwise(engine, "classify", two, new)
    several = write(tmp_path / "several.jsonl", {"text": "fox", "label": ["a", "b"]}, {"text": "dog", "label": ["a"]})
    with pytest.raises(BothwaysError, match="line 1: expected one label, got a list"):
        layerwise(engine, "classify", several, several)


def test_damaged_weights_are_an_error(tmp_path: Path) -> None:
    broken = bothways.load(make_run(tmp_path / "run", HYBRID), device="cpu").engine
    with torch.no_grad():
        broken.model.backbone.blocks[0].down.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="got what is not finite"):
        layerwise(broken, "tag", tagged(tmp_path, 20), tagged(tmp_path, 10, first=60))
