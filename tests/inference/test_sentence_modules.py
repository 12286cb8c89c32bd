"""Vectors of folders of sentence-transformers: what their modules.json says is done, kept, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bothways
from bothways.errors import ModelError
from bothways.model.huggingface.sentence_modules import POOLS
from tests.inference.made import CHINESE, ENGLISH
from tests.model.huggingface.test_published_answers import OWN, published

package = pytest.importorskip("sentence_transformers")
modules = pytest.importorskip("sentence_transformers.models")
TEXTS = ["The quick brown fox.", "", "fox", *CHINESE, *ENGLISH]
WIDTH = 64


def body(folder: Path, kind: str = "Bert") -> Any:
    grouped = {"num_key_value_heads": 4, "head_dim": 16} if kind == "Qwen3" else {}
    published(folder, kind, "", **grouped)
    OWN.save(folder, template="encoder", length=64, segments=kind == "Bert")
    return modules.Transformer(str(folder))


def saved(folder: Path, *later: Any, kind: str = "Bert", **settings: Any) -> Any:
    """A folder that sentence-transformers wrote, and its model."""
    model = package.SentenceTransformer(modules=[body(folder / "body", kind), *later], device="cpu", **settings)
    model.save(str(folder / "whole"), create_model_card=False)
    return model


def dense(out: int, activation: torch.nn.Module, **settings: Any) -> Any:
    torch.manual_seed(3)
    return modules.Dense(WIDTH, out, activation_function=activation, **settings)


LATER = {
    **{mode: lambda mode=mode: [modules.Pooling(WIDTH, mode)] for mode in POOLS},
    "two": lambda: [modules.Pooling(WIDTH, ("lasttoken", "cls", "mean"))],
    "normalised": lambda: [modules.Pooling(WIDTH, "cls"), modules.Normalize()],
    "dense": lambda: [modules.Pooling(WIDTH, "mean"), dense(24, torch.nn.Tanh()), modules.Normalize()],
    "added": lambda: [modules.Pooling(WIDTH, "mean"), dense(24, torch.nn.GELU(), use_residual=True)],
    "plain": lambda: [modules.Pooling(WIDTH, "mean"), dense(WIDTH, torch.nn.Identity(), bias=False, use_residual=True)],
}


@pytest.mark.parametrize("case", LATER)
def test_vectors_are_those_of_sentence_transformers_and_stay_so(case: str, tmp_path: Path) -> None:
    expected = saved(tmp_path, *LATER[case]()).encode(TEXTS)
    model = bothways.load(tmp_path / "whole", device="cpu")
    found = model.embed(TEXTS)
    assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-5)
    assert model.embed([]).shape == (0, expected.shape[1])
    (again,) = model.save(tmp_path / "again")
    assert np.allclose(bothways.load(again, device="cpu").embed(TEXTS), found, atol=1e-6)
    assert np.allclose(package.SentenceTransformer(str(again), device="cpu").encode(TEXTS), expected, atol=1e-5)


def test_a_decoder_ends_its_text_as_its_tokenizer_does(tmp_path: Path) -> None:
    """Qwen3-Embedding: read from the left, the state of the token that its template puts behind the text."""
    expected = saved(tmp_path, modules.Pooling(WIDTH, "lasttoken"), modules.Normalize(), kind="Qwen3").encode(TEXTS)
    model = bothways.load(tmp_path / "whole", device="cpu")
    assert model.engine.abilities.reads == "left to right"
    assert np.allclose(model.embed(TEXTS), expected, atol=1e-5)


def test_prompt_width_and_case_are_obeyed(tmp_path: Path) -> None:
    model = saved(
        tmp_path,
        modules.Pooling(WIDTH, "mean"),
        prompts={"query": "the lazy dog: ", "other": "x"},
        default_prompt_name="query",
        truncate_dim=10,
    )
    whole = tmp_path / "whole"
    expected = model.encode(TEXTS)
    assert expected.shape == (len(TEXTS), 10)
    assert np.allclose(bothways.load(whole, device="cpu").embed(TEXTS), expected, atol=1e-5)
    said = json.loads((whole / "sentence_bert_config.json").read_text())
    (whole / "sentence_bert_config.json").write_text(json.dumps({**said, "do_lower_case": True}))
    lowered = bothways.load(whole, device="cpu").embed(TEXTS)
    assert np.allclose(lowered, model.encode([text.lower() for text in TEXTS]), atol=1e-5)
    assert not np.allclose(lowered, expected, atol=1e-3)


def test_a_long_text_is_read_in_parts_of_the_length_that_it_was_made_for(tmp_path: Path) -> None:
    saved(tmp_path, modules.Pooling(WIDTH, "cls"))
    settings = tmp_path / "whole" / "sentence_bert_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "max_seq_length": 12}))
    long, half = bothways.load(tmp_path / "whole", device="cpu").embed([" dog" * 20, " dog" * 10])
    assert np.allclose(long, half, atol=1e-5)


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"])
def test_settings_under_an_older_name_are_obeyed_and_kept(kind: str, tmp_path: Path) -> None:
    """msmarco-roberta-base-v2 and others of before 2021 have no sentence_bert_config.json."""
    model = saved(tmp_path, modules.Pooling(WIDTH, "mean"))
    said, name = tmp_path / "whole" / "sentence_bert_config.json", f"sentence_{kind}_config.json"
    said.with_name(name).write_text(json.dumps({"max_seq_length": 12, "do_lower_case": True}))
    said.unlink()
    ours = bothways.load(tmp_path / "whole", device="cpu")
    assert np.allclose(ours.embed("The DOG"), model.encode("the dog"), atol=1e-5)
    (again,) = ours.save(tmp_path / "again")
    for folder in (tmp_path / "whole", again):
        long, half = bothways.load(folder, device="cpu").embed([" dog" * 20, " dog" * 10])
        assert np.allclose(long, half, atol=1e-5)


def written(folder: Path, head: str, kind: str, **settings: Any) -> Any:
    """A folder that another of its classes wrote, and its model."""
    published(folder / "body", "Bert", head, **settings)
    OWN.save(folder / "body", template="encoder", length=64, segments=True)
    model = getattr(package, kind)(str(folder / "body"), device="cpu")
    model.save_pretrained(str(folder / "whole"), create_model_card=False)
    assert (folder / "whole" / "modules.json").is_file()
    return model


def test_a_cross_encoder_ranks_and_is_written_back(tmp_path: Path) -> None:
    """Since version 6 it has a modules.json too, of a Transformer alone."""
    model = written(tmp_path, "SequenceClassification", "CrossEncoder", num_labels=1)
    expected = model.predict([("the fox", text) for text in ENGLISH], activation_fn=torch.nn.Identity())
    ours = bothways.load(tmp_path / "whole", device="cpu")
    assert np.allclose(ours.regress([("the fox", text) for text in ENGLISH]), expected, atol=1e-4)
    assert ours.embed("the fox").shape == (WIDTH,)
    (again,) = ours.save(tmp_path / "again")
    back = package.CrossEncoder(str(again), device="cpu")
    found = back.predict([("the fox", text) for text in ENGLISH], activation_fn=torch.nn.Identity())
    assert np.allclose(found, expected, atol=1e-4)


def test_a_sparse_encoder_is_asked_all_but_vectors_and_stays_one(tmp_path: Path) -> None:
    model = written(tmp_path, "MaskedLM", "SparseEncoder")
    ours = bothways.load(tmp_path / "whole", device="cpu")
    assert ours.fill("the [MASK] fox") and ours.layers("the fox").shape == (3, WIDTH)
    with pytest.raises(ModelError, match="is a SparseEncoder of sentence-transformers, not a SentenceTransformer"):
        ours.embed("the fox")
    (again,) = ours.save(tmp_path / "again")
    back = package.SparseEncoder(str(again), device="cpu")
    assert np.allclose(*(one.encode(TEXTS).to_dense().numpy() for one in (model, back)), atol=1e-5)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a layer": ("modules.json", {"type": "sentence_transformers.models.LayerNorm", "path": "2_LayerNorm"}, "LayerNorm"),
    "a place": ("modules.json", {"type": "sentence_transformers.models.Dense", "path": "../x"}, r"Dense in \.\./x"),
    "a mode": ("1_Pooling/config.json", {"pooling_mode": "median"}, "pooling_mode is 'median'"),
    "a setting": ("1_Pooling/config.json", {"temperature": 2}, "temperature is 2"),
    "a task": ("sentence_bert_config.json", {"transformer_task": "text-generation"}, "transformer_task"),
    "an activation": ("2_Dense/config.json", {"activation_function": "their.Own"}, "activation_function is their.Own"),
    "an activation with numbers": (
        *("2_Dense/config.json", {"activation_function": "torch.nn.modules.activation.MultiheadAttention"}),
        "activation_function is",
    ),
    "a size": ("2_Dense/config.json", {"out_features": 10**9}, r"are \[1000000000, \d+\]; linear.weight .*shape \[8, "),
    "a size that is none": ("2_Dense/config.json", {"in_features": "x"}, r"are \[8, 'x'\]; linear.weight"),
    "no bias": ("2_Dense/config.json", {"bias": False}, "linear.bias is not the same in config.json"),
    "modes in lists": ("1_Pooling/config.json", {"pooling_mode": [["mean"]]}, r"pooling_mode is \['mean'\]"),
    "a prompt": (
        *("config_sentence_transformers.json", {"prompts": {"q": 5}, "default_prompt_name": "q"}),
        "prompts: expected a text, got 5",
    ),
    "an input": ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "module_input_name"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_anything_else_is_refused_by_name(case: str, tmp_path: Path) -> None:
    saved(tmp_path, modules.Pooling(WIDTH, "mean"), dense(8, torch.nn.Tanh()))
    name, change, message = REFUSED[case]
    path = tmp_path / "whole" / name
    said = json.loads(path.read_text())
    path.write_text(json.dumps([*said, {"idx": 3, "name": "3", **change}] if name == "modules.json" else said | change))
    with pytest.raises(ModelError, match=message):
        bothways.load(tmp_path / "whole", device="cpu")


def test_weights_that_are_a_pickle_are_not_opened(tmp_path: Path) -> None:
    saved(tmp_path, modules.Pooling(WIDTH, "mean"), dense(8, torch.nn.Tanh()))
    (tmp_path / "whole" / "2_Dense" / "model.safetensors").rename(tmp_path / "whole" / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"expected the weights in model.safetensors"):
        bothways.load(tmp_path / "whole", device="cpu")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("modules.json", "[{", r"modules.json: expected a JSON list, got what does not read"),
        ("modules.json", "{}", r"modules.json: expected a JSON list, got an object"),
        ("modules.json", '[{"path": ""}]', "modules.json: expected modules with type and path"),
        ("1_Pooling/config.json", "[]", "config.json: expected a JSON object, got a list"),
        ("sentence_bert_config.json", '{"max_seq_length": "long"}', "max_seq_length: expected a whole number"),
        ("config_sentence_transformers.json", '{"truncate_dim": 0}', "truncate_dim: expected a whole number"),
        ("config_sentence_transformers.json", '{"prompts": ["query"]}', "prompts: expected an object"),
    ],
)
def test_files_that_do_not_read_are_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    saved(tmp_path, modules.Pooling(WIDTH, "mean"))
    (tmp_path / "whole" / name).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        bothways.load(tmp_path / "whole", device="cpu")
