"""Going on from a model: its weights under another tokenizer, replayed text, and what becomes of the loss on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import bothways
from bothways.config import read
from bothways.corpus import PrepareOptions, Rows, Shards, prepare
from bothways.errors import DataError, UsageError
from bothways.model import Model, read_saved
from bothways.text import Tokenizer
from bothways.training.config import TrainingConfig
from bothways.training.evaluate import bits_per_byte
from bothways.training.pretraining import pretrain
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.pretraining.replay import WithReplay
from bothways.training.pretraining.warm_start import start_weights, with_shape_of_start
from bothways.training.run_folder import RunFolder
from tests.inference.made import make_run
from tests.model.huggingface.test_published_answers import published
from tests.training.pretraining.small import configuration, lines, make_shards, run_until


@pytest.fixture(scope="module")
def general(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("general"), documents=200)


@pytest.fixture(scope="module")
def first(general: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on general text."""
    return pretrain(configuration(general, tmp_path_factory.mktemp("first") / "run"))


@pytest.fixture(scope="module")
def own(first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other text in the first run's tokens."""
    return extended(first, tmp_path_factory.mktemp("own"), None)


def extended(first: Path, folder: Path, count: int | None) -> Path:
    text = folder / "own.txt"
    text.write_text("\n\n".join(f"zebra quagga {i} zebra okapi" for i in range(300)), encoding="utf-8")
    options = PrepareOptions(tokenizer=first, extend=count, validation=0.1)
    prepare([str(text)], out=folder / "shards", options=options)
    return folder / "shards"


def going_on(first: Path, own: Path, out: Path, *settings: str, **changes: Any) -> Any:
    config = configuration(own, out, *settings)
    return config.model_copy(update={"start": str(first), "model": {}, **changes})


def test_the_first_validation_is_that_of_the_model_gone_on_from(first: Path, own: Path, tmp_path: Path) -> None:
    """On the old text, before a single step: the losses with which the first run ended."""
    run = pretrain(going_on(first, own, tmp_path / "run", replay=RunFolder(first).config(PretrainConfig).shards))
    before = next(line for line in lines(run) if line["kind"] == "validation")
    ended = [line for line in lines(first) if line["kind"] == "validation"][-1]
    validation = Shards.open(RunFolder(first).config(PretrainConfig).shards).validation
    bits = bits_per_byte(before["general"]["next"], validation.bytes_a_prediction)
    assert bits == pytest.approx(ended["bits_per_byte"]["causal"], abs=1e-5)
    after = [line for line in lines(run) if line["kind"] == "validation"][-1]
    assert after["general"].keys() == {"next", "fill"} and after["loss"] < before["loss"]
    assert bothways.load(run).generate("zebra", max_new_tokens=2).full_text.startswith("zebra")


def test_replay_makes_for_less_forgetting(first: Path, own: Path, general: Path, tmp_path: Path) -> None:
    def general_loss(name: str, share: float) -> float:
        settings = ["training.budget.steps=60", "training.optimiser.learning_rate=0.01"]
        config = going_on(first, own, tmp_path / name, *settings, replay=general, replay_share=share)
        line = [line for line in lines(pretrain(config)) if line["kind"] == "validation"][-1]
        return float(line["general"]["next"])

    assert general_loss("half", 0.5) < general_loss("hardly", 0.001) - 0.05


def test_a_token_that_is_new_starts_at_the_mean_of_its_old_ones(first: Path, tmp_path: Path) -> None:
    shards = Shards.open(extended(first, tmp_path, 10))
    old, new = Tokenizer.load(first), shards.tokenizer
    config = with_shape_of_start(going_on(first, tmp_path / "shards", tmp_path / "run"), vocabulary=new.vocabulary.size)
    model = Model(config.model_config_for(new.vocabulary.size), seed=3)
    start_weights(model, str(first), new)
    before = read_saved(first / "encoder").model
    size = old.vocabulary.size
    assert torch.equal(model.table[:size], before.table)
    for number in range(size, new.vocabulary.size):
        tokens = old.encode(new.text_of(number))
        assert len(tokens) > 1
        assert torch.allclose(model.table[number], before.table[tokens].mean(0))
    body = {name: weight for name, weight in before.state_dict().items() if "embeddings" not in name}
    assert all(torch.equal(model.state_dict()[name], weight) for name, weight in body.items())


def test_a_stopped_run_goes_on_without_the_model_it_began_from(
    first: Path, own: Path, general: Path, tmp_path: Path
) -> None:
    whole = pretrain(going_on(first, own, tmp_path / "whole", replay=general, replay_share=0.3))
    elsewhere = tmp_path / "begun"
    elsewhere.symlink_to(first)
    told = going_on(elsewhere, own, tmp_path / "parts", replay=general, replay_share=0.3)
    run_until(told, 7)
    elsewhere.unlink()
    pretrain(RunFolder(told.out).config(PretrainConfig), resume=True)
    assert lines(whole) == lines(told.out)
    one, other = (load_file(run / "encoder" / "model.safetensors") for run in (whole, told.out))
    assert all(torch.equal(other[name], weight) for name, weight in one.items())


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_rows_are_mixed_by_their_number_alone(own: Path, general: Path, share: float) -> None:
    mine, other = (
        Rows(Shards.open(path).train, Shards.open(path).vocabulary, length=32, seed=4) for path in (own, general)
    )
    mixed = WithReplay(mine, other, share)
    rows = [mixed[i].tokens for i in range(200)]
    expected = [mine[i].tokens for i in range(200)], [other[i].tokens for i in range(200)]
    taken = [0, 0]
    for row in rows:
        side = int(taken[1] < 200 and np.array_equal(row, expected[1][taken[1]]))
        assert np.array_equal(row, expected[side][taken[side]])
        taken[side] += 1
    assert taken[1] == int(200 * share)
    assert len({mixed.key(i) for i in range(200)}) == 200


def test_a_classic_model_goes_on_with_a_new_head(tmp_path: Path, own: Path) -> None:
    """One without a head for words gets one; its length is its own."""
    begun = make_run(tmp_path / "classic", classic=True, segments=2, length=64)
    run = pretrain(going_on(begun, own, tmp_path / "run").model_copy(update={"objective": "mlm"}))
    assert (run / "encoder" / "config.json").is_file()
    assert read_saved(run / "encoder").model.config.classic
    with pytest.raises(UsageError, match="reads at most 64 tokens: --set training.length=64"):
        pretrain(going_on(begun, own, tmp_path / "long", "training.length=128", "training.step_tokens=512"))


def test_an_electra_of_others_stays_one(tmp_path: Path, own: Path) -> None:
    """Its embeddings are of the model's own width, which alone does not tell it from BERT."""
    begun = published(tmp_path / "electra", "Electra", "PreTraining", embedding_size=64)
    run = pretrain(going_on(begun, own, tmp_path / "run").model_copy(update={"objective": "mlm"}))
    assert json.loads((run / "encoder" / "config.json").read_text())["architectures"] == ["ElectraForMaskedLM"]
    assert RunFolder(run).config(PretrainConfig).model["embedding_width"] == 64


def test_a_body_of_others_that_says_no_words_goes_on_and_learns_to(tmp_path: Path, own: Path) -> None:
    begun = published(tmp_path / "llama", "Llama", "", num_key_value_heads=2)
    run = pretrain(going_on(begun, own, tmp_path / "run").model_copy(update={"objective": "causal"}))
    assert json.loads((run / "decoder" / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    assert bothways.load(run).generate("zebra", max_new_tokens=2).full_text.startswith("zebra")


@pytest.mark.parametrize(
    ("kind", "head", "objective", "settings"),
    [
        ("ModernBert", "MaskedLM", "mlm", {"local_attention": 8}),
        ("ModernBert", "", "mlm", {"local_attention": 8}),
        ("ModernBertDecoder", "CausalLM", "causal", {"local_attention": 8}),
        ("DistilBert", "MaskedLM", "mlm", {}),
        ("Mistral", "CausalLM", "causal", {"sliding_window": 8, "num_key_value_heads": 2}),
        ("GPT2", "", "causal", {}),
    ],
)
def test_a_family_goes_on_and_stays_what_it_is(
    kind: str, head: str, objective: str, settings: dict[str, Any], tmp_path: Path, own: Path
) -> None:
    begun = published(tmp_path / "begun", kind, head, **settings)
    run = pretrain(going_on(begun, own, tmp_path / "run").model_copy(update={"objective": objective}))
    (face,) = (run / name for name in ("encoder", "decoder") if (run / name).is_dir())
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (begun, face))
    assert after["model_type"] == before["model_type"]
    assert after["architectures"][0].endswith(("MaskedLM" if objective == "mlm" else "CausalLM", "LMHeadModel"))
    assert lines(run)[-1]["loss"] < lines(run)[0]["loss"]


def test_what_cannot_go_on(first: Path, own: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out model.layers"):
        pretrain(going_on(first, own, tmp_path / "a", model={"layers": 2}))
    other = make_shards(tmp_path, documents=60, seed=5)
    with pytest.raises(DataError, match="was prepared with another tokenizer than"):
        pretrain(going_on(first, own, tmp_path / "b", replay=other))
    assert not (tmp_path / "b").exists()


def test_a_gentler_rate_unless_one_is_given(first: Path, own: Path, tmp_path: Path) -> None:
    plain = RunFolder(first).config(PretrainConfig).training.optimiser
    assert plain.learning_rate is None
    told = with_shape_of_start(going_on(first, own, tmp_path / "a"), vocabulary=512).training.optimiser
    assert told.learning_rate == pytest.approx(0.2 * 5e-3 * (128 / 32) ** 0.5)
    given = with_shape_of_start(
        going_on(first, own, tmp_path / "a", "training.optimiser.learning_rate=0.03"), vocabulary=512
    ).training.optimiser
    assert (given.learning_rate, given.adam_learning_rate) == (0.03, None)


def test_a_step_is_as_large_whatever_the_size(tmp_path: Path) -> None:
    values = {"shards": tmp_path, "out": tmp_path, "start": "google-bert/bert-base-uncased"}
    assert read(PretrainConfig, values).training.step_tokens == 8192
    assert read(PretrainConfig, {**values, "training": {"step_tokens": 512}}).training.step_tokens == 512
    assert read(PretrainConfig, {**values, "start": None}).training.step_tokens == 2048
    plain = PretrainConfig(shards=tmp_path, out=tmp_path, size="base", training=TrainingConfig(seed=3))
    assert plain.training.step_tokens == 16384 and plain.training.seed == 3


def test_other_replayed_text_is_noticed_when_a_run_goes_on(
    first: Path, own: Path, general: Path, tmp_path: Path
) -> None:
    config = going_on(first, own, tmp_path / "run", replay=general)
    run_until(config, 3)
    (tmp_path / "less.txt").write_text("\n\n".join(f"okapi {i} zebra" for i in range(200)))
    less = tmp_path / "less"
    prepare([str(tmp_path / "less.txt")], out=less, options=PrepareOptions(tokenizer=general, validation=0.1))
    begun = RunFolder(config.out).config(PretrainConfig)
    with pytest.raises(DataError, match="less is not what this run was trained on"):
        pretrain(begun.model_copy(update={"replay": less}), resume=True)
    pretrain(begun, resume=True)
