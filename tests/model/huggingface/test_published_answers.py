"""Models that others fine-tuned: their labels are read from config.json, and they say the same in both libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bothways
from bothways.batch import Target
from bothways.errors import ModelError
from bothways.training.finetuning import evaluate, predict
from tests.inference.made import tokenizer
from tests.tasks.conftest import write

transformers = pytest.importorskip("transformers")

OWN = tokenizer("wordpiece")
SMALL = {
    "vocab_size": OWN.vocabulary.size,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 112,
    "max_position_embeddings": 66,
    "initializer_range": 0.2,
    "pad_token_id": OWN.vocabulary.pad,
    "bos_token_id": OWN.vocabulary.cls,
    "eos_token_id": OWN.vocabulary.sep,
}
MOODS = {"id2label": {0: "bad", 1: "good", 2: "so-so"}, "label2id": {"bad": 0, "good": 1, "so-so": 2}}
TAGS = {"id2label": {0: "O", 1: "B-PER", 2: "I-PER"}, "label2id": {"O": 0, "B-PER": 1, "I-PER": 2}}
ENCODERS = ("Bert", "Electra", "EuroBert", "ModernBert", "DistilBert")
TEXTS = ["the quick brown fox", "lazy", "the dog jumps over the lazy dog"]


def published(folder: Path, kind: str, head: str, **settings: Any) -> Path:
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**SMALL, **settings})
    model = getattr(transformers, f"{kind}{head and 'For'}{head or 'Model'}")(config)
    for weight in model.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    model.save_pretrained(folder)
    OWN.save(folder, template="encoder" if kind in ENCODERS else "decoder", length=64)
    return folder


CLASSIFIERS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in ("Bert", "Electra", "Llama", "GPT2", "DistilBert")),
    ("EuroBert", {"classifier_pooling": "mean"}),
    ("Qwen3", {"head_dim": 16, "num_key_value_heads": 4}),
    *(("ModernBert", {"classifier_pooling": pooling, "local_attention": 4}) for pooling in ("cls", "mean")),
    ("ModernBertDecoder", {"local_attention": 4}),
]


@pytest.mark.parametrize(("kind", "settings"), CLASSIFIERS)
def test_a_published_classifier_says_what_its_pipeline_says(
    kind: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    folder = published(tmp_path / "model", kind, "SequenceClassification", **MOODS, **settings)
    ours = bothways.load(folder, device="cpu").classify(TEXTS)
    pipeline = transformers.pipeline("text-classification", model=str(folder), top_k=None)
    for text, one in zip(TEXTS, ours, strict=True):
        theirs = {found["label"]: found["score"] for found in pipeline([text])[0]}
        assert one.probabilities == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("embedding", [32, 64])
@pytest.mark.parametrize(
    "head", ["SequenceClassification", "TokenClassification", "QuestionAnswering", "PreTraining", "MaskedLM", ""]
)
def test_an_electra_stays_one_also_where_nothing_is_projected(head: str, embedding: int, tmp_path: Path) -> None:
    """ELECTRA's base and large have embeddings of the model's own width."""
    labels = {} if head in ("QuestionAnswering", "PreTraining") else MOODS
    folder = published(tmp_path / "theirs", "Electra", head, embedding_size=embedding, **labels)
    name = f"Electra{head and 'For'}{head or 'Model'}"
    source = getattr(transformers, name).from_pretrained(folder).eval()
    model = bothways.load(folder, device="cpu")
    (again,) = model.save(tmp_path / "ours")
    assert json.loads((again / "config.json").read_text())["architectures"] == [name]
    back, report = getattr(transformers, name).from_pretrained(again, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    with torch.inference_mode():
        tokens = torch.tensor([[OWN.vocabulary.cls, *OWN.encode(TEXTS[2]), OWN.vocabulary.sep]])
        expected = source(tokens).to_tuple()
        for found in (_said(model, tokens), back.eval()(tokens).to_tuple()):
            assert len(found) == len(expected)
            for mine, theirs in zip(found, expected, strict=True):
                assert mine.shape == theirs.shape and (mine - theirs).abs().max() <= 1e-5


def _said(loaded: bothways.inference.LanguageModel, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What a model says of one row [1, T], as the outputs of transformers' classes."""
    model, count = loaded.engine.model, tokens.shape[1]
    (_, states), *_ = loaded.engine.read_all([tokens[0].numpy()])
    every = torch.arange(count)
    if not model.heads:
        return (model.logits(states) if loaded.engine.abilities.hidden else states,)
    (name, head), *_ = model.heads.items()
    if name == "replaced":
        return (head.logits(states[0], Target(name, every, every, every))[None],)
    at = torch.tensor([[0, count - 1]]) if name == "label" else every
    places = head.places(at)
    found = head.logits(states[0] if places is None else states[0, places], Target(name, at, every, every))
    return (found,) if name == "label" else tuple(found.T[:, None]) if name == "span" else (found[None],)


def test_a_published_tagger_tags_and_evaluates_and_predicts(tmp_path: Path) -> None:
    folder = published(tmp_path / "model", "Bert", "TokenClassification", **TAGS)
    (tagged,) = bothways.load(folder, device="cpu").tag(["the quick brown fox"])
    theirs = transformers.pipeline("token-classification", model=str(folder), ignore_labels=[])("the quick brown fox")
    firsts = [one for one in theirs if not one["word"].startswith("##")]
    assert tagged.tags == [one["entity"] for one in firsts]
    assert tagged.probabilities == pytest.approx([one["score"] for one in firsts], abs=1e-5)
    test = write(tmp_path / "test.jsonl", {"tokens": ["the", "fox"], "tags": ["O", "B-PER"]})
    assert evaluate(folder, test)["examples"] == 1
    assert predict(folder, test, tmp_path / "out.jsonl") == 1
    assert set(json.loads((tmp_path / "out.jsonl").read_text())) >= {"tags", "entities", "probabilities"}


def test_published_numbers_several_labels_and_spans(tmp_path: Path) -> None:
    number = published(tmp_path / "number", "Bert", "SequenceClassification", num_labels=1)
    assert bothways.load(number, device="cpu").regress(TEXTS).shape == (3,)
    several = published(
        tmp_path / "several", "Bert", "SequenceClassification", problem_type="multi_label_classification", **MOODS
    )
    model = transformers.AutoModelForSequenceClassification.from_pretrained(several).eval()
    found = bothways.load(several, device="cpu").classify("lazy")
    with torch.inference_mode():
        ids = torch.tensor([[OWN.vocabulary.cls, *OWN.encode("lazy"), OWN.vocabulary.sep]])
        chances = model(ids).logits[0].sigmoid()
    assert np.allclose(list(found.probabilities.values()), chances.numpy(), atol=1e-5)
    spans = published(tmp_path / "spans", "Bert", "QuestionAnswering")
    context = "the dog jumps over the fox"
    span = bothways.load(spans, device="cpu").answer("who", context)
    assert span.start is not None and context[span.start : span.end] == span.text


def test_a_way_of_pooling_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    folder = published(tmp_path / "model", "EuroBert", "SequenceClassification", **MOODS)
    with pytest.raises(ModelError, match="classifier_pooling is 'late'; Bothways loads this kind of model with 'mean'"):
        bothways.load(folder)
