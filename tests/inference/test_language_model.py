"""Opening a run or a folder, and asking for what it was not taught."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import bothways
from bothways.errors import ModelError
from bothways.inference import LanguageModel
from bothways.inference.engine import Engine
from bothways.model import Abilities, TaskHead
from bothways.model.abilities import Writes
from tests.inference.made import CAUSAL, ENGLISH, GPT_BERT, HYBRID, MLM, REVERSED, load, make_run


@pytest.mark.parametrize("part", ["", "encoder", "decoder"])
def test_a_run_and_each_of_its_folders_give_the_same_model(run: Path, part: str) -> None:
    found = bothways.load(str(run / part))
    assert found.engine.abilities == HYBRID
    assert torch.equal(found.engine.model.table.cpu(), load(run).engine.model.table)
    assert not found.engine.model.training


def test_both_faces_share_one_set_of_weights(loaded: LanguageModel) -> None:
    loaded.fill("the [MASK]")
    loaded.generate("the", max_new_tokens=1)
    assert len({id(parameter) for parameter in loaded.engine.model.parameters()}) == 16  # 2 layers of 7, table, norm


def test_an_adapters_own_task_writes(loaded: LanguageModel) -> None:
    """The base was not fine-tuned to it, and heads of several adapters have names of their own."""

    def writing(task: str, name: str, target: int) -> Engine:
        writes = Writes(target=target, before=(2,), behind=(), end=3)
        head = TaskHead(task, "words", (), "text", "decoder", name=name, writes=writes)
        return replace(loaded.engine, abilities=replace(CAUSAL, objective="", heads={name: head}))

    short, long = writing("summarise", "short", 2), writing("summarise", "long", 5)
    adapters = {"short": short, "long": long, "other": writing("translate", "other", 3)}
    model = LanguageModel(replace(loaded.engine, adapters=adapters))
    texts = ["the fox", "a dog"]
    alone = [LanguageModel(one).summarise(text) for one, text in zip((short, long), texts, strict=True)]
    assert [len(one.tokens) for one in alone] == [2, 5]
    assert model.summarise("the fox", adapter="short") == alone[0]
    assert model.summarise(iter(texts), adapter=["short", "long"]) == alone
    assert len(model.translate("the fox", adapter="other").tokens) == 3
    for asked in ({}, {"adapter": "other"}, {"adapter": "short", "head": "long"}):
        with pytest.raises(ModelError, match="not fine-tuned|not to summarise"):
            model.summarise("the fox", **asked)


@pytest.mark.parametrize(
    ("trained", "can", "cannot"),
    [
        (HYBRID, "fill generate causal pseudo embed", ""),
        (CAUSAL, "generate causal embed", "fill pseudo"),
        (MLM, "fill pseudo embed", "generate causal"),
        (GPT_BERT, "fill generate causal pseudo embed", ""),
        (REVERSED, "generate embed", "fill causal pseudo"),
        (Abilities("electra", ("encoder",), None), "embed", "fill pseudo generate causal"),
    ],
)
def test_what_an_objective_teaches(trained: Abilities, can: str, cannot: str, tmp_path: Path) -> None:
    found = load(make_run(tmp_path / "run", trained))
    ask: dict[str, Callable[[], object]] = {
        "fill": lambda: found.fill("the [MASK]"),
        "generate": lambda: found.generate("the", max_new_tokens=1),
        "causal": lambda: found.score("the fox"),
        "pseudo": lambda: found.score("the fox", how="pseudo"),
        "embed": lambda: found.embed("the fox"),
    }
    for name in can.split():
        ask[name]()
    for name in cannot.split():
        with pytest.raises(ModelError, match=f"its objective, {trained.objective}, gives the faces") as caught:
            ask[name]()
        assert "hybrid" in str(caught.value)


def test_the_message_says_which_faces_there_are(tmp_path: Path) -> None:
    found = load(make_run(tmp_path / "run", CAUSAL))
    with pytest.raises(
        ModelError,
        match="not taught to fill in hidden words: its objective, causal, gives the faces: decoder. "
        "Pretrain one with the objective mlm or hybrid",
    ):
        found.fill("the [MASK]")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"holds no model: expected a run with encoder/, decoder/, body/, model/ in it"
    ):
        bothways.load(tmp_path)
    with pytest.raises(ModelError, match="holds no model"):
        bothways.load(tmp_path / "nowhere")


def test_a_tokenizer_of_another_model(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(run / "encoder", folder)
    other = make_run(tmp_path / "run", kind="wordpiece")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(other / "encoder" / name, folder / name)
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelError, match="they do not belong together"):
        bothways.load(folder)


def test_bfloat16_answers_much_as_float32(run: Path, loaded: LanguageModel) -> None:
    rough = bothways.load(run, device="cpu", dtype=torch.bfloat16)
    assert rough.engine.model.table.dtype == torch.bfloat16
    vectors = rough.embed(list(ENGLISH))
    assert vectors.dtype == np.float32
    assert np.abs(vectors - loaded.embed(list(ENGLISH))).max() < 0.1
    assert np.allclose(rough.score(list(ENGLISH)), loaded.score(list(ENGLISH)), rtol=0.02)
    rough.fill("the [MASK]")
    rough.generate("the", max_new_tokens=3)


def test_a_published_masked_model_fills_and_scores_as_its_pipeline_does(tmp_path: Path) -> None:
    """BERT as others save it: vocab.txt or tokenizer.json, no word of Bothways; random weights."""
    transformers = pytest.importorskip("transformers")
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] the quick brown fox jump ##s over lazy dog . a".split()
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    transformers.BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    pipeline = transformers.pipeline("fill-mask", model=str(tmp_path), device="cpu")
    found = load(tmp_path)
    assert found.engine.abilities == Abilities("", ("encoder",), "in place")
    answered = pipeline("The quick [MASK] jumps over a dog.", top_k=3 + 5)
    expected = [e for e in answered if e["token"] >= 5][:3]  # special tokens are no words
    (guesses,) = found.fill("The quick [MASK] jumps over a dog.", top_k=3)
    assert [g.probability for g in guesses] == pytest.approx([e["score"] for e in expected], rel=1e-4)
    assert [g.text for g in guesses] == [e["sequence"] for e in expected]
    assert found.score("the fox", how="pseudo") < 0
    with pytest.raises(ModelError, match="not taught to continue a text: its architecture gives the faces: encoder"):
        found.generate("The")


def test_the_command_line_says_the_same(run: Path, loaded: LanguageModel) -> None:
    """One way of asking is as good as another; tests/cli has the rest."""
    from typer.testing import CliRunner

    from bothways.cli import app

    said = CliRunner().invoke(app, ["score", str(run), "the fox", "--json"], catch_exceptions=False)
    assert json.loads(said.stdout)[0]["nats"] == pytest.approx(loaded.score("the fox"), rel=1e-5)
