"""Encoder-decoders in transformers' classes: packed rows, what comes back, and the encoder of one alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bothways.batch import Batch
from bothways.errors import ModelError
from bothways.model import Abilities, Model, TaskHead, preset, read_saved, save_faces
from bothways.model.huggingface.folders import read_body
from bothways.objectives import build
from tests.model.small import model_of
from tests.objectives.rows import VOCABULARY, pair_row

transformers = pytest.importorskip("transformers")
HEAD = TaskHead("classify", "label", ("a", "b", "c"), "one", "encoder", 1)


@pytest.fixture(scope="module", params=["modern", "classic", "scaled"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A random model, and the folder that it was saved in."""
    shape = "modern" if request.param == "modern" else "classic"
    config = preset("3-2x64", vocabulary=VOCABULARY.size, length=64, shape=shape)
    if request.param == "scaled":
        config = config.model_copy(update={"scaled_embeddings": True})
    model = model_of(config)
    return model, saved(model, tmp_path_factory.mktemp(request.param))


def saved(model: Model, run: Path) -> Path:
    (folder,) = save_faces(
        run,
        weights=model.state_dict(),
        config=model.config,
        vocabulary=VOCABULARY,
        trained=Abilities("seq2seq", (), None, {"seq2seq": 0}, "all sides"),
        save_tokenizer=lambda folder, template: None,
        card=lambda face: f"# {face}\n",
    )
    return folder


@torch.no_grad()
def test_logits_equal_those_of_transformers(made: tuple[Model, Path]) -> None:
    model, folder = made
    theirs, report = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    objective = build("seq2seq", VOCABULARY)
    rows = [pair_row([(5, 6)]), pair_row([(9, 2)]), pair_row([(1, 1)])]
    batch = Batch.stack([objective.sample(row, np.random.default_rng(0), 0.0) for row in rows])
    assert batch.source is not None
    asked: dict[str, Any] = {
        "input_ids": batch.source.tokens,
        "attention_mask": batch.source.layout.real.long(),
        "decoder_input_ids": batch.tokens,
        "decoder_attention_mask": batch.layout.real.long(),
    }
    expected = theirs.eval()(**asked).logits[batch.layout.real]
    assert (model(batch)[batch.layout.real] - expected).abs().max() <= 2e-5 * expected.abs().max()


def test_what_is_saved_comes_back_bit_by_bit(made: tuple[Model, Path]) -> None:
    model, folder = made
    back = read_saved(folder)
    assert back.model.config == model.config and "seq2seq" in back.trained.decoding
    theirs, own = back.model.state_dict(), model.state_dict()
    assert theirs.keys() == own.keys()
    # T5Gemma's file holds the weights of norms less one, which float32 may round
    assert all((theirs[name] - own[name]).abs().max() <= 1e-6 for name in own)


@torch.no_grad()
def test_the_encoder_alone_is_fine_tuned_as_a_bert(made: tuple[Model, Path], tmp_path: Path) -> None:
    model, folder = made
    if not model.config.classic:
        with pytest.raises(ModelError, match="text2text"):
            read_body(folder, HEAD)
        return
    body = read_body(folder, HEAD).eval()
    sample = build("seq2seq", VOCABULARY).sample(pair_row([(5, 6)]), np.random.default_rng(0), 0.0)
    source = Batch.stack([sample]).source
    assert source is not None
    batch = Batch(source.tokens, source.layout, ())
    assert (body.states(batch) - model.states(batch)).abs().max() <= 1e-5
    (place,) = save_faces(
        tmp_path,
        weights=body.state_dict(),
        config=body.config,
        vocabulary=VOCABULARY,
        trained=Abilities.of_heads(HEAD),
        save_tokenizer=lambda folder, template: None,
        card=lambda face: f"# {face}\n",
    )
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(place)
    assert type(theirs).__name__ == "BertForSequenceClassification"
    found = theirs.eval().bert(source.tokens).last_hidden_state
    assert (found - model.states(batch)).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensors: tensors.update(final_logits_bias=torch.ones(1, VOCABULARY.size)), "final_logits_bias holds"),
        (lambda tensors: tensors.update({"lm_head.weight": torch.ones(2, 2)}), "lm_head.weight differs"),
    ],
)
def test_what_there_is_no_place_for_is_refused(change: Any, says: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = saved(model_of(preset("1-1x64", vocabulary=VOCABULARY.size, length=64, shape="classic")), tmp_path)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelError, match=says):
        read_saved(folder)


def test_a_class_that_reads_with_both_sides_is_refused(made: tuple[Model, Path], tmp_path: Path) -> None:
    config = transformers.BartConfig(d_model=32, encoder_layers=1, decoder_layers=1, vocab_size=40, encoder_ffn_dim=32)
    config.decoder_ffn_dim = 32
    transformers.BartForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="BartForSequenceClassification.*ForConditionalGeneration"):
        read_saved(tmp_path)
