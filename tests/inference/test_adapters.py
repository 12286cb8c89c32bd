"""Adapters opened by their own folder, and beside their base: both are what they were trained as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import bothways
from bothways.errors import ModelError
from tests.model.huggingface.test_published_answers import MOODS, published

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


def theirs(folder: Path, base: Path, auto: str = "AutoModel", **settings: Any) -> Path:
    """A LoRA that peft wrote, which has something to say."""
    torch.manual_seed(1)
    told = peft.LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False, **settings)
    peft.get_peft_model(getattr(transformers, auto).from_pretrained(base), told).save_pretrained(folder)
    return folder


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
