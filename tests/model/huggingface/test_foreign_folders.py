"""Folders that hold what is not for us: damaged, of others, of earlier names; what is refused, and what is read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bothways.errors import ModelError
from bothways.model import (
    Abilities,
    from_hugging_face,
    read_abilities,
    read_saved,
)
from bothways.model.huggingface.architectures import guessed
from bothways.model.huggingface.families import FAMILIES
from bothways.model.huggingface.weight_names import from_hugging_face_names, to_hugging_face
from tests.model.huggingface.test_folders import HYBRID, content, save
from tests.model.small import CLASSIC, MODERN, model_of


def damage(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = content(folder / "config.json")
    change(values)
    (folder / "config.json").write_text(json.dumps(values))


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda f: (f / "config.json").unlink(), "holds no model: expected a Hugging Face folder"),
    "no json": (lambda f: (f / "config.json").write_text("{"), "expected a JSON object, got what does not read"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "expected a JSON object, got a list"),
    "t5": (
        lambda f: damage(f, lambda v: v.update(model_type="t5")),
        "model_type is t5; Bothways loads bart",
    ),
    "a size missing": (lambda f: damage(f, lambda v: v.pop("hidden_size")), "hidden_size is missing"),
    "a size wrong": (lambda f: damage(f, lambda v: v.update(hidden_size="wide")), "width.*got 'wide'"),
    "a word for a size": (lambda f: damage(f, lambda v: v.update(vocab_size="many")), "vocabulary.*got 'many'"),
    "other groups": (
        lambda f: damage(f, lambda v: v.update(num_key_value_heads=1)),
        "q_proj.weight has shape",
    ),
    "biases": (lambda f: damage(f, lambda v: v.update(attention_bias=True)), "attention_bias is True"),
    "untied": (
        lambda f: damage(f, lambda v: v.update(tie_word_embeddings=False)),
        "expected the tensor lm_head.weight",
    ),
    "silent about tying": (lambda f: damage(f, lambda v: v.pop("tie_word_embeddings")), "the tensor lm_head.weight"),
    "stretched rotary": (
        lambda f: damage(f, lambda v: v["rope_parameters"].update(rope_type="dynamic")),
        "rope_type is 'dynamic'; Bothways loads 'default', 'linear'",
    ),
    "another shape": (lambda f: damage(f, lambda v: v.update(hidden_size=32, head_dim=16)), "has shape"),
    "more layers": (lambda f: damage(f, lambda v: v.update(num_hidden_layers=4)), "expected the tensor model.layers.3"),
    "fewer layers": (lambda f: damage(f, lambda v: v.update(num_hidden_layers=2)), "holds model.layers.2.*no place"),
    "a pickle": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        "pytorch_model.bin, which can run code.*save_pretrained",
    ),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        "found none. A model of the hub that has only a pytorch_model.bin",
    ),
    "truncated": (lambda f: os.truncate(f / "model.safetensors", 1000), "model.safetensors cannot be read.*damaged"),
    "strange note": (
        lambda f: (f / "bothways.json").write_text('{"version": 3, "faces": [["encoder"]]}'),
        r"bothways.json: faces\.0: expected what Bothways writes there.*got \['encoder'\]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_named(case: str, tmp_path: Path) -> None:
    spoil, message = REFUSED[case]
    (folder, _) = save(tmp_path)
    (folder / "SHA256SUMS").unlink()
    spoil(folder)
    with pytest.raises(ModelError, match=message) as caught:
        from_hugging_face(folder)
    assert str(folder) in str(caught.value)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    """One that would leave a trace when it is."""
    (folder, _) = save(tmp_path / "run")
    for name in ("model.safetensors", "SHA256SUMS"):
        (folder / name).unlink()
    trace = tmp_path / "trace"
    code = f"cposix\nsystem\n(S'touch {trace}'\ntR.".encode()
    (folder / "pytorch_model.bin").write_bytes(code)
    with pytest.raises(ModelError, match="never opened"):
        from_hugging_face(folder)
    assert not trace.exists()


def test_names_of_old_checkpoints(tmp_path: Path) -> None:
    """BERT's first converted checkpoints say gamma and beta, and hold constants and heads that we leave out."""
    model = model_of(CLASSIC)
    tensors = {}
    for name, tensor in to_hugging_face(model.state_dict(), config=CLASSIC, family=FAMILIES["bert"]).items():
        tensors[name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")] = (
            tensor
        )
    tensors["bert.embeddings.position_ids"] = torch.arange(64)[None]
    tensors["bert.pooler.dense.weight"] = torch.zeros(64, 64)
    tensors["cls.seq_relationship.weight"] = torch.zeros(2, 64)
    (folder, _) = save(tmp_path, CLASSIC)
    save_file(tensors, folder / "model.safetensors")
    (folder / "SHA256SUMS").unlink()
    again = from_hugging_face(folder).state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in model.state_dict().items())


def test_a_tensor_of_the_body_is_not_lost_in_silence() -> None:
    model = model_of(MODERN)
    theirs = to_hugging_face(model.state_dict(), config=MODERN, family=FAMILIES["llama"])
    theirs["model.layers.1.self_attn.q_norm.weight"] = torch.ones(32)
    with pytest.raises(ModelError, match="q_norm.*no place"):
        from_hugging_face_names(theirs, family=FAMILIES["llama"], wanted=model.state_dict())


@pytest.mark.parametrize(
    ("model_type", "name", "more", "words", "expected"),
    [
        ("llama", "LlamaForCausalLM", {}, False, Abilities("", ("decoder",), None)),
        ("llama", "LlamaForCausalLM", {"is_causal": False}, True, Abilities("", ("encoder",), "before")),
        ("llama", "LlamaModel", {}, False, Abilities("", (), None, reads="left to right")),
        ("llama", "LlamaModel", {"is_causal": False}, False, Abilities("", ("encoder",), None)),
        ("bert", "BertLMHeadModel", {"is_decoder": True}, True, Abilities("", ("decoder",), None)),
        ("bert", "BertLMHeadModel", {}, True, Abilities("", ("encoder",), "before")),
        ("bert", "BertForMaskedLM", {}, True, Abilities("", ("encoder",), "in place")),
        ("bert", "BertForMaskedLM", {"is_decoder": True}, True, Abilities("", ("decoder",), None)),
        ("bert", "BertModel", {"is_decoder": True}, False, Abilities("", (), None, reads="left to right")),
        ("bert", "BertModel", {"is_decoder": True, "is_causal": False}, False, Abilities("", ("encoder",), None)),
        ("bert", None, {}, False, Abilities("", ("encoder",), None)),
    ],
)
def test_what_a_folder_of_others_can_be_asked(
    model_type: str, name: str | None, more: dict[str, Any], words: bool, expected: Abilities
) -> None:
    values = {"model_type": model_type, "architectures": name and [name], **more}
    assert guessed(values, words=words) == expected


@pytest.mark.parametrize(
    ("said", "labels", "kind"),
    [
        ({"id2label": {"1": "good", "0": "bad"}}, ("bad", "good"), "one"),
        ({}, ("LABEL_0", "LABEL_1"), "one"),
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2"), "one"),
        ({"num_labels": 3, "id2label": {"0": "bad", "1": "good"}}, ("LABEL_0", "LABEL_1", "LABEL_2"), "one"),
        ({"num_labels": 1}, ("LABEL_0",), "number"),
        ({"num_labels": 1, "problem_type": "multi_label_classification"}, ("LABEL_0",), "several"),
        ({"num_labels": 1, "problem_type": "regression"}, ("LABEL_0",), "number"),
        ({"problem_type": "regression"}, None, "problem_type is 'regression' of 2 numbers"),
        (
            {"problem_type": "ranking"},
            None,
            "problem_type is 'ranking'; expected multi_label_classification, regression",
        ),
        ({"id2label": {"first": "bad"}}, None, "expected id2label as {number: label}, got {'first': 'bad'}"),
        ({"id2label": ["bad", "good"]}, None, "expected id2label as an object"),
    ],
)
def test_the_labels_of_others(said: dict[str, Any], labels: tuple[str, ...] | None, kind: str, tmp_path: Path) -> None:
    values = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], **said}
    (tmp_path / "config.json").write_text(json.dumps(values))
    if labels is None:
        with pytest.raises(ModelError, match=re.escape(f"{tmp_path}: config.json: ") + f".*{re.escape(kind)}"):
            read_abilities(tmp_path)
    else:
        answers = read_abilities(tmp_path).only_head
        assert answers is not None and (answers.labels, answers.kind) == (labels, kind)


@pytest.mark.parametrize(
    "trained", [HYBRID, Abilities("reversed", (), None), Abilities("gpt-bert", ("decoder",), "before")]
)
def test_what_was_taught_comes_back(trained: Abilities, tmp_path: Path) -> None:
    (folder, *_) = save(tmp_path, trained=trained)
    assert read_saved(folder).trained == trained
    for name in ("bothways.json", "SHA256SUMS"):
        (folder / name).unlink()
    assert read_saved(folder).trained.objective == ""
