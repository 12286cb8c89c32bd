"""Sizes that config.json claims are compared with the weights before anything of that size is made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bothways.batch import Vocabulary
from bothways.errors import ModelError
from bothways.model import Model, read_saved
from bothways.model.abilities import Abilities, TaskHead
from bothways.model.config import ModelConfig
from bothways.model.huggingface import folders
from bothways.model.huggingface.folders import read_body, save_faces

VOCABULARY = Vocabulary(size=40, pad=0, unk=1, cls=2, sep=3, mask=4)
HUGE = 10**9
HEAD = TaskHead("classify", "label", ("no", "yes"), "one", "encoder")


def saved(folder: Path, shape: str) -> Path:
    """A model of a few thousand weights."""
    config = ModelConfig(vocabulary=40, layers=2, width=16, heads=2, inner=24, length=16, shape=shape)
    if shape == "classic":
        config = config.model_copy(update={"segments": 2, "word_head": "transformed"})
    weights = dict(Model(config).named_parameters())
    trained = Abilities("mlm", ("encoder",), "in place")
    beside = {"save_tokenizer": lambda *_: None, "card": lambda _: ""}
    save_faces(folder, weights=weights, config=config, vocabulary=VOCABULARY, trained=trained, **beside)
    return folder / "encoder"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {shape: saved(tmp_path_factory.mktemp(shape), shape) for shape in ("modern", "classic")}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[ModelConfig]:
    """The models that are made, each by its shape: none that is far larger than its file may come to be."""
    found: list[ModelConfig] = []

    def make(config: ModelConfig, **more: Any) -> Model:
        found.append(config)
        assert config.least_parameters < 2_000_000
        return Model(config, **more)

    monkeypatch.setattr(folders, "Model", make)
    return found


def with_field(model: Path, folder: Path, **fields: Any) -> Path:
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("SHA256SUMS"))
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return folder


@pytest.mark.parametrize("size", [HUGE, 10**30])
@pytest.mark.parametrize(
    ("shape", "field"),
    [
        *(("modern", name) for name in ("vocab_size", "num_hidden_layers", "hidden_size", "num_attention_heads")),
        *(("modern", name) for name in ("intermediate_size", "num_key_value_heads", "head_dim")),
        *(("classic", name) for name in ("vocab_size", "num_hidden_layers", "hidden_size", "intermediate_size")),
        *(("classic", name) for name in ("max_position_embeddings", "type_vocab_size", "num_labels")),
    ],
)
def test_a_size_far_beyond_the_weights_is_refused(
    shape: str, field: str, size: int, models: dict[str, Path], made: list[ModelConfig], tmp_path: Path
) -> None:
    folder = with_field(models[shape], tmp_path / "model", **{field: size})
    if field == "num_labels":
        (folder / "bothways.json").unlink()
        with_field(folder, tmp_path / "labelled", architectures=["BertForSequenceClassification"])
        folder = tmp_path / "labelled"
    else:
        with pytest.raises(ModelError, match=r"config\.json"):
            read_body(folder, HEAD)
    with pytest.raises(ModelError, match=r"config\.json"):
        read_saved(folder)
    assert made == []


@pytest.mark.parametrize("layers", [3, 50])
def test_a_block_more_than_there_are(layers: int, models: dict[str, Path], tmp_path: Path) -> None:
    folder = with_field(models["modern"], tmp_path / "model", num_hidden_layers=layers)
    with pytest.raises(ModelError, match="expected the tensor model.layers.2|num_hidden_layers 50.*it is not that of"):
        read_saved(folder)


def test_what_the_files_say_of_sizes_that_no_tensor_has_costs_nothing(
    models: dict[str, Path], made: list[ModelConfig], tmp_path: Path
) -> None:
    """How far rotary positions reach is in no tensor, and no table is made of it."""
    folder = with_field(models["modern"], tmp_path / "model", max_position_embeddings=HUGE, layer_types=None)
    assert read_saved(folder).model.config.length == HUGE and len(made) == 1
    with pytest.raises(ModelError, match=r"layer_types is \['full_attention'\]"):
        read_saved(with_field(folder, tmp_path / "typed", layer_types=["full_attention"]))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rope_parameters", 5, "rope_parameters: expected an object, got 5"),
        ("rope_parameters", {"rope_type": []}, r"rope_parameters: rope_type is \[\]"),
        ("head_dim", {}, r"head_dim: expected a number, got \{\}"),
        ("num_key_value_heads", ["x"], "num_key_value_heads: expected a number"),
        ("initializer_range", "x", "initializer_range: expected a number, got 'x'"),
        ("num_hidden_layers", True, "num_hidden_layers .layers.: expected a whole number above 0, got True"),
    ],
)
def test_another_kind_of_value_is_named(
    field: str, value: Any, message: str, models: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=rf"config\.json: {message}"):
        read_saved(with_field(models["modern"], tmp_path / "model", **{field: value}))


@pytest.mark.parametrize("part", [5, ["x"], "../model.safetensors", "model.bin", None])
def test_an_index_names_files_beside_it(part: Any, models: dict[str, Path], tmp_path: Path) -> None:
    folder = with_field(models["modern"], tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": part}}))
    with pytest.raises(ModelError, match="index.json: expected weight_map, the file of every tensor"):
        read_saved(folder)


def test_heads_that_are_damaged_are_named(models: dict[str, Path], tmp_path: Path) -> None:
    folder = with_field(models["modern"], tmp_path / "model")
    (folder / "head.safetensors").write_bytes(b"[" * 100)
    with pytest.raises(ModelError, match="head.safetensors cannot be read as safetensors"):
        read_saved(folder)
