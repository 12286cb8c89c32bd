"""Adapters opened by their own folder, and beside their base: both are what they were trained as."""

from __future__ import annotations

import json
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
from bothways.training.finetuning import finetune
from bothways.visibility import ordered
from tests.inference.made import BANG, HYBRID, make_run
from tests.model.huggingface.test_peft import saved
from tests.model.huggingface.test_published_answers import MOODS, OWN, TEXTS, published
from tests.tasks.conftest import config, write

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")

BART = {"d_model": 64, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4}
BART |= {"decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96}


def theirs(folder: Path, base: Path, auto: str = "AutoModel", **settings: Any) -> Path:
    """A LoRA that peft wrote, which has something to say."""
    torch.manual_seed(1)
    told = peft.LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False, **settings)
    peft.get_peft_model(getattr(transformers, auto).from_pretrained(base), told).save_pretrained(folder)
    return folder


def both(base: Path, adapter: Path) -> tuple[LanguageModel, LanguageModel]:
    """It by its own folder, and beside its base."""
    beside = bothways.load(base, device="cpu", adapters={"mine": adapter}).with_adapter("mine")
    return bothways.load(adapter, device="cpu"), beside


@pytest.fixture
def pooled(tmp_path: Path) -> Path:
    """A model of sentence-transformers whose vector is the state of [CLS]."""
    package, modules = pytest.importorskip("sentence_transformers"), pytest.importorskip("sentence_transformers.models")
    published(tmp_path / "body", "Bert", "")
    body = modules.Transformer(str(tmp_path / "body"))
    whole = package.SentenceTransformer(modules=[body, modules.Pooling(64, "cls")], device="cpu")
    whole.save(str(tmp_path / "pooled"), create_model_card=False)
    return tmp_path / "pooled"


def test_an_adapter_of_others_pools_as_its_base_does_or_as_it_says(pooled: Path, tmp_path: Path) -> None:
    adapter = theirs(tmp_path / "theirs", pooled)
    model = pytest.importorskip("sentence_transformers").SentenceTransformer(str(pooled), device="cpu")
    peft.PeftModel.from_pretrained(model[0].auto_model, adapter)  # in place
    expected = model.encode(TEXTS)
    for one in both(pooled, adapter):
        assert np.allclose(one.embed(TEXTS), expected, atol=1e-5)
    for name in ("modules.json", "1_Pooling"):
        (shutil.copytree if name[0] == "1" else shutil.copy)(pooled / name, adapter / name)
    (adapter / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    for one in both(pooled, adapter):
        assert not np.allclose(one.embed(TEXTS), expected, atol=1e-2)


def test_an_adapter_that_was_taught_vectors_has_the_mean_that_it_was_taught(pooled: Path, tmp_path: Path) -> None:
    head = TaskHead("embed", "vector", ("0", "1"), "pair", "encoder")
    adapter, model = saved(tmp_path, pooled, "lora(rank=2)", Abilities.of_heads(head), read_body(pooled, head))
    engine = Engine(model, bothways.load(pooled, device="cpu").tokenizer, Abilities.of_heads(head))
    for one in both(pooled, adapter):
        assert np.allclose(one.embed(TEXTS), LanguageModel(engine).embed(TEXTS), atol=1e-5)


def test_an_adapter_with_a_head_opens_on_a_base_whose_vectors_are_not_implemented(tmp_path: Path) -> None:
    base = published(tmp_path / "base", "Bert", "")
    kinds = {"": "Transformer", "1_CNN": "CNN"}
    listed = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (base / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(ModelError, match="CNN in 1_CNN, which is not implemented"):
        bothways.load(base, device="cpu")
    head = TaskHead("classify", "label", ("one", "two"), "one", "encoder")
    adapter, _ = saved(tmp_path, base, "lora(rank=2)", Abilities.of_heads(head), read_body(base, head))
    assert bothways.load(adapter, device="cpu").classify(TEXTS[0])


@pytest.mark.parametrize("expression", ["norms", "soft_prompt(tokens=3)", "lora(rank=4)"])
def test_an_adapter_reads_by_the_rule_that_it_was_trained_under(expression: str, tmp_path: Path) -> None:
    """bang's branches see what stands before them by a rule of their own."""
    base = make_run(tmp_path / "run", HYBRID)
    adapter, _ = saved(tmp_path, base / "encoder", expression, BANG)
    alone, beside = both(base / "encoder", adapter)
    assert beside.engine.model.rule.name == BANG.rule
    assert beside.generate("The quick", temperature=0).text == alone.generate("The quick", temperature=0).text
    plain, _ = saved(tmp_path / "plain", base / "encoder", "lora(rank=4)", HYBRID)
    assert both(base / "encoder", plain)[1].engine.model.rule is ordered


@pytest.mark.parametrize(
    ("kind", "labels", "pooling"), [("Bert", "one two", ""), ("ModernBert", "bad good so-so", "mean")], ids=str
)
def test_an_adapter_has_the_head_that_it_was_trained_with(kind: str, labels: str, pooling: str, tmp_path: Path) -> None:
    """Another number of labels than its base, or another pooling, under the same name."""
    more = {"classifier_pooling": "cls"} if kind == "ModernBert" else {}
    base = published(tmp_path / "base", kind, "SequenceClassification", **MOODS, **more)
    head = TaskHead("classify", "label", tuple(labels.split()), "one", "encoder", pooling=pooling)
    adapter, _ = saved(tmp_path, base, "lora(rank=2)", Abilities.of_heads(head), read_body(base, head))
    alone, beside = both(base, adapter)
    for one, other in zip(alone.classify(TEXTS), beside.classify(TEXTS), strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


@pytest.mark.parametrize("kind", ["Bert", "Llama"])
def test_an_adapter_that_writes_brings_its_word_head(kind: str, tmp_path: Path) -> None:
    body = published(tmp_path / "base", kind, "")  # without one
    pairs = write(tmp_path / "pairs.jsonl", *({"source": f"the fox {n}", "target": "dog"} for n in range(8)))
    told = {"task": "text2text", "objective": "prefix", "train": pairs, "dev": pairs, "target_length": 4, "epochs": 1}
    run = finetune(config(tmp_path, body, adapter="lora(rank=2)", **told))
    alone, beside = both(body, run)
    assert [one.text for one in alone.generate(TEXTS)] == [one.text for one in beside.generate(TEXTS)]
    folders = [model.merge().save(tmp_path / name) for name, model in (("alone", alone), ("beside", beside))]
    one, other = (bothways.load(folder, device="cpu").generate(TEXTS[0]).text for (folder,) in folders)
    assert one == other == alone.generate(TEXTS[0]).text


@pytest.mark.parametrize("scaled", [False, True])
def test_an_adapter_of_an_encoder_opens_beside_the_whole(scaled: bool, tmp_path: Path) -> None:
    """A head on a BART is fine-tuned on its encoder, in BERT's shape: peft finds no such modules in a BART."""
    base = published(tmp_path / "base", "Bart", "ConditionalGeneration", **BART, scale_embedding=scaled)
    OWN.save(base, template="encoder", length=64)
    run = finetune(config(tmp_path, base, adapter="lora(rank=2)", epochs=1))
    assert not (run / "adapter" / "adapter_config.json").exists()
    alone, beside = both(base, run)
    for one, other in zip(alone.classify(TEXTS), beside.classify(TEXTS), strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    whole = bothways.load(base, device="cpu", adapters={"mine": run})
    assert whole.engine.model.table.stride(0) == 1  # by columns, as without an adapter
    assert whole.generate(TEXTS[0], num_beams=1) == bothways.load(base, device="cpu").generate(TEXTS[0], num_beams=1)
    mine, own = dict(whole.with_adapter("mine").engine.model.named_parameters()), whole.engine.model.backbone
    apart = [name for name, weight in own.named_parameters() if mine[f"backbone.{name}"] is not weight]
    assert apart == (["embeddings.tokens.weight"] if scaled else [])


def test_a_tokenizer_with_more_tokens_than_the_table_is_refused(tmp_path: Path) -> None:
    """A published LoRA often has one with a [PAD] that was added for training."""
    base = published(tmp_path / "base", "Bert", "SequenceClassification", **MOODS)
    adapter = theirs(tmp_path / "theirs", base, "AutoModelForSequenceClassification", task_type="SEQ_CLS")
    assert bothways.load(base, device="cpu", adapters={"mine": adapter}).with_adapter("mine").classify("the fox")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"pad_token": "<another>"})
    tokenizer.save_pretrained(adapter)
    said = "theirs.*: the tokenizer has {} tokens, the model {}: they do not belong together"
    said += "; delete .*theirs/tokenizer.json, and the base's is used"
    said = said.format(len(tokenizer), len(tokenizer) - 1)
    with pytest.raises(ModelError, match=said):
        bothways.load(adapter, device="cpu")
    with pytest.raises(ModelError, match=f"the adapter 'mine' .*{said}"):
        bothways.load(base, device="cpu", adapters={"mine": adapter})
    (adapter / "tokenizer.json").unlink()
    for model in both(base, adapter):
        assert model.classify("the fox")
