"""Adapters opened by their own folder, and beside their base: both are what they were trained as."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bothways
from bothways.errors import ModelError
from bothways.inference.engine import Engine
from bothways.inference.language_model import LanguageModel
from bothways.model import TaskHead, read_body
from bothways.model.abilities import Abilities
from tests.model.huggingface.test_peft import saved
from tests.model.huggingface.test_published_answers import MOODS, TEXTS, published

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


def theirs(folder: Path, base: Path, auto: str = "AutoModel", **settings: Any) -> Path:
    """A LoRA that peft wrote, which has something to say."""
    torch.manual_seed(1)
    told = peft.LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False, **settings)
    peft.get_peft_model(getattr(transformers, auto).from_pretrained(base), told).save_pretrained(folder)
    return folder


@pytest.fixture
def pooled(tmp_path: Path) -> Path:
    """A model of sentence-transformers whose vector is the state of [CLS]."""
    package, modules = pytest.importorskip("sentence_transformers"), pytest.importorskip("sentence_transformers.models")
    published(tmp_path / "body", "Bert", "")
    body = modules.Transformer(str(tmp_path / "body"))
    whole = package.SentenceTransformer(modules=[body, modules.Pooling(64, "cls")], device="cpu")
    whole.save(str(tmp_path / "pooled"), create_model_card=False)
    return tmp_path / "pooled"


def embedded(base: Path, adapter: Path) -> list[np.ndarray]:
    """By the adapter's own folder, and beside its base."""
    beside = bothways.load(base, device="cpu", adapters={"mine": adapter}).with_adapter("mine")
    return [model.embed(TEXTS) for model in (bothways.load(adapter, device="cpu"), beside)]


def test_an_adapter_of_others_pools_as_its_base_does_or_as_it_says(pooled: Path, tmp_path: Path) -> None:
    adapter = theirs(tmp_path / "theirs", pooled)
    model = pytest.importorskip("sentence_transformers").SentenceTransformer(str(pooled), device="cpu")
    peft.PeftModel.from_pretrained(model[0].auto_model, adapter)  # in place
    expected = model.encode(TEXTS)
    for found in embedded(pooled, adapter):
        assert np.allclose(found, expected, atol=1e-5)
    for name in ("modules.json", "1_Pooling"):
        (shutil.copytree if name[0] == "1" else shutil.copy)(pooled / name, adapter / name)
    (adapter / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    for found in embedded(pooled, adapter):
        assert not np.allclose(found, expected, atol=1e-2)


def test_an_adapter_that_was_taught_vectors_has_the_mean_that_it_was_taught(pooled: Path, tmp_path: Path) -> None:
    head = TaskHead("embed", "vector", ("0", "1"), "pair", "encoder")
    adapter, model = saved(tmp_path, pooled, "lora(rank=2)", Abilities.of_heads(head), read_body(pooled, head))
    for found in embedded(pooled, adapter):
        engine = Engine(model, bothways.load(pooled, device="cpu").tokenizer, Abilities.of_heads(head))
        assert np.allclose(found, LanguageModel(engine).embed(TEXTS), atol=1e-5)


def test_a_tokenizer_with_more_tokens_than_the_table_is_refused(tmp_path: Path) -> None:
    """A published LoRA often has one with a [PAD] that was added for training."""
    base = published(tmp_path / "base", "Bert", "SequenceClassification", **MOODS)
    adapter = theirs(tmp_path / "theirs", base, "AutoModelForSequenceClassification", task_type="SEQ_CLS")
    assert bothways.load(base, device="cpu", adapters={"mine": adapter}).with_adapter("mine").classify("the fox")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"pad_token": "<another>"})
    tokenizer.save_pretrained(adapter)
    said = "theirs.*: the tokenizer has {} tokens, the model {}: they do not belong together"
    said = said.format(len(tokenizer), len(tokenizer) - 1)
    with pytest.raises(ModelError, match=said):
        bothways.load(adapter, device="cpu")
    with pytest.raises(ModelError, match=f"the adapter 'mine' .*{said}"):
        bothways.load(base, device="cpu", adapters={"mine": adapter})
