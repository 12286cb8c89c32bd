"""Folders: what is in them, one weights file under two names, whole or not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from bothways.batch import Vocabulary
from bothways.errors import MachineError, ModelError, UsageError
from bothways.model import (
    Abilities,
    Card,
    ModelConfig,
    architecture,
    from_hugging_face,
    read_saved,
    save_faces,
)
from bothways.model.huggingface.families import FAMILIES, family_for
from bothways.model.huggingface.weight_names import to_hugging_face
from bothways.training.weights import Replicated
from tests.model.small import CLASSIC, MODERN, PROJECTED, UNPROJECTED, changed, model_of

VOCABULARY = Vocabulary(size=97, pad=0, unk=1, cls=2, sep=3, mask=4, reserved=frozenset({5}))
HYBRID = Abilities("hybrid", ("encoder", "decoder"), "in place")


def save(run: Path, config: ModelConfig = MODERN, *, trained: Abilities = HYBRID, **changes: Any) -> list[Path]:
    settings: dict[str, Any] = {
        "weights": model_of(config).state_dict(),
        "config": config,
        "vocabulary": VOCABULARY,
        "trained": trained,
        "save_tokenizer": lambda folder, template: (folder / "template").write_text(template),
        "card": lambda face: f"# {face}\n",
        **changes,
    }
    return save_faces(run, **settings)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def content(path: Path) -> Any:
    return json.loads(path.read_text())


def test_what_is_in_the_folders(tmp_path: Path) -> None:
    folders = save(tmp_path / "run")
    assert folders == [tmp_path / "run" / "encoder", tmp_path / "run" / "decoder"]
    both = {"config.json", "model.safetensors", "bothways.json", "README.md", "SHA256SUMS", "template"}
    vectors = {"modules.json", "1_Pooling/config.json", "config_sentence_transformers.json"}
    assert names(folders[0]) == both | vectors
    assert names(folders[1]) == both | {"generation_config.json"}
    assert [(folder / "template").read_text() for folder in folders] == ["encoder", "decoder"]
    assert [(folder / "README.md").read_text() for folder in folders] == ["# encoder\n", "# decoder\n"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["decoder", "encoder"]


def test_the_faces_differ_in_little_but_their_names(tmp_path: Path) -> None:
    encoder, decoder = (content(folder / "config.json") for folder in save(tmp_path))
    assert encoder.pop("architectures") == ["EuroBertForMaskedLM"] and encoder.pop("model_type") == "eurobert"
    assert decoder.pop("architectures") == ["LlamaForCausalLM"] and decoder.pop("model_type") == "llama"
    assert encoder.pop("mask_token_id") == 4
    assert encoder == decoder
    assert (encoder["bos_token_id"], encoder["eos_token_id"], encoder["pad_token_id"]) == (2, 3, 0)


def test_one_weights_file_under_two_names(tmp_path: Path) -> None:
    encoder, decoder = (folder / "model.safetensors" for folder in save(tmp_path))
    assert encoder.samefile(decoder)
    assert encoder.stat().st_nlink == 2
    assert encoder.stat().st_mode & 0o777 == 0o644


def test_copies_where_the_file_system_has_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    encoder, decoder = (folder / "model.safetensors" for folder in save(tmp_path))
    assert not encoder.samefile(decoder)
    assert encoder.read_bytes() == decoder.read_bytes()


def test_the_weights_are_float32_whatever_was_handed_over(tmp_path: Path) -> None:
    (folder, _) = save(tmp_path, weights=model_of(MODERN).bfloat16().state_dict())
    tensors = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert not any("lm_head" in name for name in tensors)  # tied
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_the_flat_master_of_training_is_saved_as_it_stands(tmp_path: Path) -> None:
    """All master weights are views of one buffer; heads and parts stay out."""
    model = model_of(MODERN)
    expected = {name: weight.clone() for name, weight in model.state_dict().items()}
    weights = Replicated(model, torch.bfloat16).master
    (folder, _) = save(tmp_path, weights={**weights, "heads.label.weight": torch.ones(3), "parts.x.y": torch.ones(1)})
    again = from_hugging_face(folder).state_dict()
    assert again.keys() == expected.keys()
    assert all(torch.equal(again[name], weight) for name, weight in expected.items())


def test_saving_imports_neither_transformers_nor_the_text_part(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from tests.model.huggingface.test_folders import save
before = set(sys.modules)
import bothways.model
assert not {{'transformers', 'sentence_transformers', 'bothways.text'}} & set(sys.modules), 'imported'
save(Path({str(tmp_path)!r}))
assert not {{'transformers', 'sentence_transformers'}} & set(sys.modules), 'imported while saving'
"""
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root)


def test_saving_again_replaces(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "encoder" / "stale").touch()
    other = model_of(MODERN, seed=7)
    (folder, _) = save(tmp_path, weights=other.state_dict())
    assert "stale" not in names(folder)
    assert torch.equal(from_hugging_face(folder).table, other.table)


def test_what_fails_half_way_leaves_the_old_folders_whole(tmp_path: Path) -> None:
    def full(face: str) -> str:
        raise OSError(28, "No space left on device")

    folders = save(tmp_path)
    before = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(MachineError, match="No space"):
        save(tmp_path, weights=model_of(MODERN, seed=7).state_dict(), card=full)
    assert all(path.read_bytes() == old for path, old in before.items())
    save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decoder", "encoder"]


def test_an_objective_without_a_face_leaves_a_body(tmp_path: Path) -> None:
    (folder,) = save(tmp_path, trained=Abilities("reversed", (), None))
    assert folder.name == "body"
    assert content(folder / "config.json")["architectures"] == ["EuroBertModel"]
    assert read_saved(folder).trained == Abilities("reversed", (), None)


def test_generation_draws_text_only_and_ends_at_sep(tmp_path: Path) -> None:
    (_, folder) = save(tmp_path)
    assert content(folder / "generation_config.json") == {
        "bos_token_id": 2,
        "eos_token_id": 3,
        "pad_token_id": 0,
        "do_sample": True,
        "suppress_tokens": [0, 1, 2, 4, 5],
    }


@pytest.mark.parametrize(
    ("changes", "face", "expected"),
    [
        ({}, "encoder", ("eurobert", "EuroBertForMaskedLM")),
        ({}, "decoder", ("llama", "LlamaForCausalLM")),
        ({"segments": 2}, "encoder", "no model of this shape.* llama's: set segments to 0"),
    ],
)
def test_the_architecture_can_be_asked_before_a_run(changes: dict[str, Any], face: str, expected: Any) -> None:
    config = MODERN.model_copy(update=changes)
    if isinstance(expected, tuple):
        assert architecture(config, face) == expected
    else:
        with pytest.raises(ModelError, match=expected):
            architecture(config, face)


def test_architectures_of_the_classic_shape() -> None:
    assert architecture(CLASSIC, "encoder") == ("bert", "BertForMaskedLM")
    for electra in (PROJECTED, UNPROJECTED, UNPROJECTED.model_copy(update={"segments": 1})):
        assert architecture(electra, "encoder") == ("electra", "ElectraForMaskedLM")
    assert architecture(CLASSIC, "decoder") == ("bert", "BertLMHeadModel")
    with pytest.raises(ModelError, match="set word_head to transformed"):
        architecture(CLASSIC.model_copy(update={"word_head": "tied"}), "encoder")
    without = CLASSIC.model_copy(update={"segments": 0})
    assert architecture(without, "encoder") == ("distilbert", "DistilBertForMaskedLM")
    with pytest.raises(ModelError, match=r"no model of this shape.* bert's: set segments to 2"):
        architecture(changed(without, norm={"epsilon": 0.1}), "encoder")
    with pytest.raises(UsageError, match="unknown face 'encode'.*Known: answerer, body, classifier, decoder"):
        architecture(CLASSIC, "encode")


def test_a_body_from_the_left_is_a_face_of_every_shape(tmp_path: Path) -> None:
    trained = Abilities("mine", (), None, reads="left to right")
    for config, name in ((MODERN, "LlamaModel"), (CLASSIC, "BertModel"), (UNPROJECTED, "ElectraModel")):
        (folder,) = save(tmp_path, config, trained=trained, card=Card("mine", trained, config, 1, "mine"))
        assert content(folder / "config.json")["architectures"] == [name]
        assert "its decoder-body, read from left to right" in (folder / "README.md").read_text()
        assert (folder / "template").read_text() == "decoder" and read_saved(folder).trained == trained


def test_a_vocabulary_larger_than_the_model_is_refused(tmp_path: Path) -> None:
    large = Vocabulary(size=98, pad=0, unk=1, cls=2, sep=3, mask=4)
    with pytest.raises(ModelError, match="the tokenizer has 98 tokens, the model 97"):
        save(tmp_path, vocabulary=large)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("config", [MODERN, CLASSIC, PROJECTED, UNPROJECTED])
def test_every_weight_has_a_name_of_its_own(config: ModelConfig) -> None:
    weights = model_of(config).state_dict()
    theirs = to_hugging_face(weights, config=config, family=family_for(config, "body"))
    assert sum(tensor.numel() for tensor in theirs.values()) == sum(weight.numel() for weight in weights.values())


def test_a_weight_without_a_place_is_not_lost_in_silence() -> None:
    with pytest.raises(ModelError, match="backbone.extra.weight cannot be saved: llama has no place for it"):
        to_hugging_face({"backbone.extra.weight": torch.ones(1)}, config=MODERN, family=FAMILIES["llama"])
